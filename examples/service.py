"""A service that classifies, embeds or detects: what a model is for decides which addresses answer.

    pip install '.[service]'
    python examples/service.py model.igq --port 8000
    curl --data-binary @photo.jpg "localhost:8000/predict?topk=3"

The body of a request is an image file (JPEG, PNG, WebP, TIFF, GIF, BMP). Answers:

    GET  /health                  {"status": "ok", "model", "kind", "classes", "isa", "threads"}
    POST /predict?topk=5          [{"label", "score", "index"}, ...]                           (classifiers)
    POST /embed?normalize=true    {"embedding": [width numbers]}                               (classifiers, encoders)
    POST /detect?threshold=0.5    [{"label", "score", "box": [x, y, width, height] in pixels}] (detectors)

A fault of the request is {"detail": one line} with the status 400, 413 for a body that is too long.
"""

import argparse
import sys

from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.concurrency import run_in_threadpool

import igq

LONGEST_BODY = 32 * 1024 * 1024


async def image_of(request: Request) -> bytes:
    """The body, read piece by piece so that one that is too long is never held."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > LONGEST_BODY:
            raise HTTPException(413, f"an image file has at most {LONGEST_BODY} bytes")
    if not body:
        raise HTTPException(400, "the body is empty: send the bytes of an image file")
    return bytes(body)


async def answer(request: Request, call):
    image = await image_of(request)
    try:
        # One model serves all requests at once; the GIL is released while it computes.
        return await run_in_threadpool(call, image)
    except igq.Error as fault:
        raise HTTPException(400, str(fault)) from None


def create_app(path: str, threads: int = 0) -> FastAPI:
    """The service of one model; `threads` as igq.Model's, 0: what the process may use."""
    model = igq.Model(path, threads=threads or None)
    app = FastAPI(title="igq", version=igq.version())

    @app.get("/health")
    def health():
        return {
            "status": "ok",
            "model": model.architecture,
            "kind": model.kind,
            "classes": model.num_classes,
            "isa": igq.cpu_info()["best_isa"],
            "threads": threads or igq.cpu_info()["threads"],
        }

    if model.kind == "classifier":

        @app.post("/predict")
        async def predict(request: Request, topk: int = Query(5, ge=1, le=1000)):
            return await answer(request, lambda image: model.predict(image, topk=topk))

    if model.kind != "detector":

        @app.post("/embed")
        async def embed(request: Request, normalize: bool = True):
            vectors = await answer(request, lambda image: model.embed(image, normalize=normalize))
            return {"embedding": vectors[0].tolist()}

    else:

        @app.post("/detect")
        async def detect(request: Request, threshold: float = Query(0.5, ge=0.0, le=1.0)):
            found = await answer(request, lambda image: model.detect(image, score_threshold=threshold))
            return [{"label": d["label"], "score": d["score"], "box": d["box"]} for d in found]

    return app


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="an .igq file, a checkpoint folder or a detector")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--threads", type=int, default=0, help="of one request (0: what the process may use)")
    args = parser.parse_args()
    import uvicorn

    uvicorn.run(create_app(args.model, args.threads), host=args.host, port=args.port)


if __name__ == "__main__":
    try:
        main()
    except igq.Error as fault:
        sys.exit(f"service: error: {fault}")
