#include "eval/evaluate.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <mutex>
#include <numeric>

#include "base/fail.h"
#include "base/file.h"
#include "io/preprocess.h"

namespace igq {
namespace {

[[noreturn]] void fail_bad_images(const std::vector<BadImage>& bad, std::size_t samples) {
  constexpr std::size_t kNamed = 10;
  std::string list;
  for (std::size_t i = 0; i < std::min(bad.size(), kNamed); ++i)
    list += fmt::format("{}{}", i == 0 ? "" : "; ", bad[i].error);
  if (bad.size() > kNamed) list += fmt::format("; and {} more", bad.size() - kNamed);
  fail("{} of {} images cannot be read; mend or remove them, or go on without them with --skip-bad-images: {}",
       bad.size(), samples, list);
}

}  // namespace

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + '"';
}

std::function<void(std::int64_t, float*)> load_samples(const ModelConfig& config, const std::vector<Sample>& samples) {
  return [&config, &samples](std::int64_t i, float* image) {
    preprocess_file(samples[static_cast<std::size_t>(i)].path, config.preprocess, config.image_height,
                    config.image_width, image);
  };
}

std::vector<int> rank_classes(std::span<const float> logits, int k) {
  std::vector<int> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  const auto count = std::min(order.size(), static_cast<std::size_t>(std::max(k, 0)));
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(count), order.end(), [&](int a, int b) {
    const float x = logits[static_cast<std::size_t>(a)], y = logits[static_cast<std::size_t>(b)];
    return x != y ? x > y : a < b;
  });
  order.resize(count);
  return order;
}

std::vector<double> softmax(std::span<const float> logits) {
  std::vector<double> p(logits.begin(), logits.end());
  if (p.empty()) return p;
  const double largest = *std::max_element(p.begin(), p.end());
  double sum = 0.0;
  for (double& v : p) sum += v = std::exp(v - largest);
  for (double& v : p) v /= sum;
  return p;
}

std::vector<double> class_scores(std::span<const float> logits, Scores how) {
  if (how == Scores::kSoftmax) return softmax(logits);
  std::vector<double> scores(logits.begin(), logits.end());
  if (how == Scores::kSigmoid)
    for (double& v : scores) v = 1.0 / (1.0 + std::exp(-v));
  return scores;
}

EvalResult evaluate(Runner& runner, const std::vector<Sample>& samples, const EvalOptions& options,
                    const std::function<void(std::int64_t)>& after) {
  const ModelConfig& config = runner.model().config();
  for (const Sample& sample : samples)
    if (sample.label < 0)
      fail(
          "{} lies in no class folder, so its label is unknown: eval needs DIR/CLASS/IMAGE; `igq predict` needs no "
          "labels",
          sample.path.string());
  EvalResult result;
  result.results.resize(samples.size());
  std::vector<std::string> errors(samples.size());
  std::atomic<bool> only_decode{false};
  std::mutex mutex;
  std::int64_t done = 0;
  auto finish_one = [&] {
    const std::lock_guard lock(mutex);
    ++done;
    if (after) after(done);
  };
  const auto start = std::chrono::steady_clock::now();
  runner.run_each(
      static_cast<std::int64_t>(samples.size()),
      [&](std::int64_t i, float* image) {
        const auto at = static_cast<std::size_t>(i);
        result.results[at].file = samples[at].relative;
        result.results[at].label = samples[at].label;
        try {
          preprocess_file(samples[at].path, config.preprocess, config.image_height, config.image_width, image);
        } catch (const Error& e) {
          errors[at] = e.what();
          if (!options.skip_bad_images) only_decode = true;
        }
        if (errors[at].empty() && !only_decode) return true;
        finish_one();
        return false;
      },
      [&](std::int64_t i, std::span<const float> logits) {
        ImageResult& r = result.results[static_cast<std::size_t>(i)];
        r.classes = rank_classes(logits, options.topk);
        const std::vector<double> p = class_scores(logits, config.scores);
        for (const int c : r.classes) r.scores.push_back(p[static_cast<std::size_t>(c)]);
        finish_one();
      });
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();

  std::int64_t first = 0, in_five = 0;
  for (std::size_t i = 0; i < samples.size(); ++i) {
    if (!errors[i].empty()) {
      result.bad_images.push_back({samples[i].relative, errors[i]});
      continue;
    }
    const ImageResult& r = result.results[i];
    ++result.images;
    const auto end = r.classes.begin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(5, r.classes.size()));
    const auto found = std::find(r.classes.begin(), end, r.label);
    first += found == r.classes.begin() && found != end;
    in_five += found != end;
  }
  if (!result.bad_images.empty() && !options.skip_bad_images) fail_bad_images(result.bad_images, samples.size());
  if (result.images == 0 && !samples.empty())
    fail("none of the {} images can be read; the first: {}", samples.size(), result.bad_images.front().error);
  if (result.images > 0) {
    result.top1 = 100.0 * static_cast<double>(first) / static_cast<double>(result.images);
    result.top5 = 100.0 * static_cast<double>(in_five) / static_cast<double>(result.images);
    result.images_per_s = static_cast<double>(result.images) / std::max(result.seconds, 1e-9);
  }
  return result;
}

double confidence_95(double percent, std::int64_t images) {
  if (images <= 0) return 100.0;
  constexpr double z = 1.959963984540054;
  const auto n = static_cast<double>(images);
  const double p = percent / 100.0;
  return 100.0 * z / (1.0 + z * z / n) * std::sqrt(p * (1.0 - p) / n + z * z / (4.0 * n * n));
}

namespace {

std::string results_header(std::size_t classes) {
  std::string text = "file,label";
  for (std::size_t i = 1; i <= classes; ++i) text += fmt::format(",class_{}", i);
  for (std::size_t i = 1; i <= classes; ++i) text += fmt::format(",score_{}", i);
  return text;
}

}  // namespace

const OutputKind kResultsOutput{"a results file", [](const InputFile& file) {
                                  std::string text(std::min<std::uint64_t>(file.size(), std::uint64_t{1} << 20), '\0');
                                  file.read(0, std::as_writable_bytes(std::span(text)));
                                  const std::string header = text.substr(0, text.find('\n'));
                                  const auto classes = (std::count(header.begin(), header.end(), ',') - 1) / 2;
                                  return classes > 0 && header == results_header(static_cast<std::size_t>(classes));
                                }};

void write_results_csv(const std::filesystem::path& path, const std::vector<ImageResult>& results, bool overwrite) {
  std::size_t k = 0;
  for (const ImageResult& r : results) k = std::max(k, r.classes.size());
  std::string text = results_header(k) + "\n";
  for (const ImageResult& r : results) {
    text += fmt::format("{},{}", csv_field(r.file), r.label);
    for (std::size_t i = 0; i < k; ++i) text += i < r.classes.size() ? fmt::format(",{}", r.classes[i]) : ",";
    for (std::size_t i = 0; i < k; ++i) text += i < r.scores.size() ? fmt::format(",{:.6g}", r.scores[i]) : ",";
    text += '\n';
  }
  write_file(path, text, overwrite, &kResultsOutput);
}

}  // namespace igq
