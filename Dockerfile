# igq in a container:
#   docker build -t igq . && docker run --rm -v "$PWD:/data" igq predict model.igq photo.jpg
# The threads follow the container's CPU quota. The first stage is scripts/package, which CI also runs where there is no Docker.
FROM debian:12 AS build
WORKDIR /src
COPY . .
RUN apt-get update && scripts/setup --package && scripts/package /out

FROM debian:12-slim
COPY --from=build /out /tmp/package
RUN apt-get update && apt-get install -y --no-install-recommends /tmp/package/igq_*.deb && rm -rf /tmp/package /var/lib/apt/lists/*
WORKDIR /data
USER nobody
ENTRYPOINT ["igq"]
