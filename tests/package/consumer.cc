// Uses every part of the installed API; prints the best class of the image. Exit code 0 when all is as igq.h says.
#include <igq/igq.h>

#include <cstdio>
#include <string>
#include <thread>

#define CHECK(condition) \
  if (!(condition)) return std::fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition), 1

template <typename Body>
std::string error_of(Body&& body) {
  try {
    body();
  } catch (const igq::Error& e) {
    return e.what();
  }
  return {};
}

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  CHECK(igq::version() == IGQ_VERSION);
  igq::Classifier model(argv[1]);
  const auto best = model.predict(std::filesystem::path(argv[2]), 3);
  CHECK(best.size() == 3 && best[0].score >= best[1].score);
  const std::vector<float> image = model.load_image(argv[2]);
  CHECK(image.size() == model.image_floats() &&
        model.image_floats() == 3u * model.image_height() * model.image_width());
  CHECK(model.predict(image, 1)[0].index == best[0].index && model.predict(image, 1)[0].logit == best[0].logit);
  CHECK(static_cast<int>(model.logits(image).size()) == model.num_classes());
  CHECK(model.execution() == "float" && !model.isa().empty() && !model.architecture().empty());

  igq::ClassifierOptions options;
  options.isa = "reference";
  options.threads = 1;
  igq::Classifier reference(argv[1], options);
  CHECK(reference.isa() == "reference" && reference.predict(image, 1)[0].logit == best[0].logit);

  igq::Classifier other = model.share();
  float logit = 0.0f;
  std::thread thread([&] { logit = other.predict(image, 1)[0].logit; });
  CHECK(model.predict(image, 1)[0].logit == best[0].logit);
  thread.join();
  CHECK(logit == best[0].logit);

  CHECK(error_of([] { igq::Classifier("nowhere"); }).find("nowhere does not exist") == 0);
  CHECK(error_of([&] { model.predict(std::filesystem::path("nothing.png")); }).find("cannot open nothing.png") == 0);
  CHECK(!error_of([&] { model.logits(std::span<const float>(image).first(5)); }).empty());
  options.execution = "integer";
  CHECK(error_of([&] { igq::Classifier(argv[1], options); }).find("is a float model") != std::string::npos);
  std::printf("%d\n", best[0].index);
  return 0;
}
