#include "report/neighbour_examples.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <numeric>

#include "eval/evaluate.h"
#include "report/html.h"
#include "report/svg.h"
#include "report/thumbnail.h"

namespace igq::report {
namespace {

constexpr std::size_t kExamples = 6, kNeighbours = 4;

std::string picture(const std::string& png, const std::string& title) {
  return fmt::format("<img alt=\"\" title=\"{}\" src=\"data:image/png;base64,{}\">", escape(title), base64(png));
}

std::string row(const char* who, const std::vector<Neighbour>& neighbours, const std::vector<Neighbour>& others) {
  std::string html = fmt::format("<div class=\"neighbours\"><span>{}</span>", who);
  for (const Neighbour& n : neighbours) {
    const bool known = std::any_of(others.begin(), others.end(), [&](const Neighbour& o) { return o.file == n.file; });
    html += fmt::format("<figure{}>{}<figcaption>{:.3f}</figcaption></figure>", known ? "" : " class=\"changed\"",
                        picture(n.thumbnail, n.file), n.cosine);
  }
  return html + "</div>\n";
}

nlohmann::json to_json(const std::vector<Neighbour>& neighbours) {
  nlohmann::json list = nlohmann::json::array();
  for (const Neighbour& n : neighbours) list.push_back({{"file", n.file}, {"cosine", n.cosine}});
  return list;
}

}  // namespace

std::size_t NeighbourExample::shared() const {
  return static_cast<std::size_t>(std::count_if(original.begin(), original.end(), [&](const Neighbour& n) {
    return std::any_of(integer.begin(), integer.end(), [&](const Neighbour& m) { return m.file == n.file; });
  }));
}

VectorFacts compare_vectors(Model& reference, Model& integer, const std::vector<Sample>& samples, Isa isa,
                            ThreadPool& pool, const StageProgress& progress) {
  const ModelConfig& config = integer.config();
  const auto count = static_cast<std::int64_t>(samples.size());
  CompareOptions options;
  options.alone = false;
  const Comparison both = compare_models(reference, integer, options, isa, pool, count, load_samples(config, samples),
                                         begin_stage(progress, "comparing vectors", count));
  const auto width = static_cast<std::size_t>(embedding_width(config));
  VectorFacts facts;
  facts.images = both.images;
  facts.cosines = summarize(both.cosines);
  facts.recall = neighbour_recall(both.reference_vectors, both.test_vectors, width);
  if (samples.size() < 2) return facts;
  const std::size_t k = std::min(kNeighbours, samples.size() - 1);
  const auto original = nearest_images(both.reference_vectors, width, k),
             found = nearest_images(both.test_vectors, width, k);
  std::vector<std::size_t> shared(samples.size()), order(samples.size());
  for (std::size_t i = 0; i < samples.size(); ++i)
    for (const NearImage& n : original[i])
      shared[i] += static_cast<std::size_t>(
          std::count_if(found[i].begin(), found[i].end(), [&](const NearImage& m) { return m.image == n.image; }));
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return shared[a] != shared[b] ? shared[a] < shared[b] : both.cosines[a] < both.cosines[b];
  });
  order.resize(std::min(order.size(), kExamples));
  std::map<std::size_t, std::string> thumbnails;
  const auto thumbnail_of = [&](std::size_t i) {
    const auto [at, added] = thumbnails.try_emplace(i);
    if (added) at->second = thumbnail(samples[i], config);
    return at->second;
  };
  const auto list = [&](const std::vector<NearImage>& near) {
    std::vector<Neighbour> neighbours;
    for (const NearImage& n : near) neighbours.push_back({samples[n.image].relative, n.cosine, thumbnail_of(n.image)});
    return neighbours;
  };
  for (const std::size_t i : order)
    facts.examples.push_back(
        {samples[i].relative, thumbnail_of(i), both.cosines[i], list(original[i]), list(found[i])});
  return facts;
}

std::string neighbour_section(const VectorFacts& facts) {
  std::string body = paragraph(fmt::format(
      "The nearest of the other images, by the cosine of their vectors. Over {} the nearest image is the same for "
      "{:.1f} "
      "%, and {:.1f} % of the ten nearest are. Those whose neighbours differ most are shown; a frame marks a neighbour "
      "that "
      "the other model does not have among its {}.",
      plural(facts.images, "image", "images"), 100.0 * facts.recall.at1, 100.0 * facts.recall.at10, kNeighbours));
  body += "<div class=\"cards\">\n";
  for (const NeighbourExample& e : facts.examples)
    body += fmt::format(
        "<div class=\"card wide\">{}<div>\n{}{}<span class=\"file\">{}: cosine of float and integers {:.4f}"
        "</span></div></div>\n",
        picture(e.thumbnail, e.file), row("float", e.original, e.integer), row("integers", e.integer, e.original),
        breakable(e.file), e.cosine);
  return section("neighbours", "Nearest images", body + "</div>\n");
}

nlohmann::json vectors_to_json(const VectorFacts& facts) {
  nlohmann::json examples = nlohmann::json::array();
  for (const NeighbourExample& e : facts.examples)
    examples.push_back(
        {{"file", e.file}, {"cosine", e.cosine}, {"float", to_json(e.original)}, {"integers", to_json(e.integer)}});
  return {{"images", facts.images},
          {"cosine_mean", facts.cosines.mean},
          {"cosine_percentile_1", facts.cosines.percentile1},
          {"recall_at_1", facts.recall.at1},
          {"recall_at_10", facts.recall.at10},
          {"examples", std::move(examples)}};
}

}  // namespace igq::report
