// igq inspect: what a model is made of - architecture, sites, plan, where it came from - without running it.
#include <fmt/format.h>

#include <filesystem>
#include <iostream>
#include <memory>

#include "base/fail.h"
#include "allocation/bops.h"
#include "common.h"
#include "detect.h"
#include "detector_verbs.h"
#include "models/config_json.h"
#include "models/plan_json.h"
#include "models/registry.h"
#include "quantize_flags.h"
#include "verbs.h"

namespace igq::cli {
namespace {

struct InspectFlags {
  ModelFlags model;
  QuantizeFlags quantize;
  bool list = false;
  bool bops = false;
  bool json = false;
};

void list_all(bool json) {
  nlohmann::json rows = nlohmann::json::array();
  Table table({"architecture", "parameters", "multiply-adds", "input"});
  for (const std::string& name : list_architectures()) {
    const ModelConfig config = architecture_config(name);
    const std::int64_t parameters = count_parameters(config), macs = count_macs(config);
    rows.push_back({{"architecture", name},
                    {"parameters", parameters},
                    {"macs", macs},
                    {"image_height", config.image_height},
                    {"image_width", config.image_width},
                    {"num_classes", config.num_classes}});
    table.add({name, scaled(static_cast<double>(parameters)), scaled(static_cast<double>(macs)),
               fmt::format("{}x{}", config.image_height, config.image_width)});
  }
  if (json)
    print_json(rows);
  else
    std::cout << table.text();
}

std::string activation_text(const ActivationPlan& plan) {
  if (plan.grouping == Grouping::kFloat) return "float";
  const std::string groups = plan.groups.size() > 1 ? fmt::format(" x{}", plan.groups.size()) : "";
  return fmt::format("a{} {}{}", plan.bits, grouping_name(plan.grouping), groups);
}

nlohmann::json sites_json(const std::vector<SiteShape>& shapes) {
  nlohmann::json sites = nlohmann::json::array();
  for (const SiteShape& s : shapes) {
    nlohmann::json entry = {{"site", s.name}, {"macs", s.macs()}};
    if (s.attention)
      entry.update({{"windows", s.windows}, {"heads", s.heads}, {"tokens", s.tokens}, {"head_dim", s.head_dim}});
    else
      entry.update({{"tokens", s.rows}, {"in", s.in}, {"out", s.out}});
    sites.push_back(std::move(entry));
  }
  return sites;
}

void print_sites(const std::vector<SiteShape>& shapes, const QuantizationPlan* plan) {
  Table table({"site", "shape", "multiply-adds", "plan"});
  for (const SiteShape& s : shapes) {
    const std::string shape =
        s.attention ? fmt::format("{}x{} maps of {}x{}, dim {}", s.windows, s.heads, s.tokens, s.tokens, s.head_dim)
                    : fmt::format("{} tokens, {} -> {}", s.rows, s.in, s.out);
    std::string text = "float";
    if (plan != nullptr) {
      if (const auto linear = plan->linears.find(s.name); linear != plan->linears.end())
        text = fmt::format("w{}{} {}", linear->second.weight.bits,
                           linear->second.weight.group_size == 0
                               ? ""
                               : fmt::format(" in groups of {}", linear->second.weight.group_size),
                           activation_text(linear->second.input));
      else if (const auto attention = plan->attentions.find(s.name); attention != plan->attentions.end())
        text =
            fmt::format("qkv a{} {}, softmax {}", attention->second.qkv.bits,
                        qkv_grouping_name(attention->second.qkv.grouping), activation_text(attention->second.softmax));
    }
    table.add({s.name, shape, scaled(static_cast<double>(s.macs())), text});
  }
  std::cout << table.text();
}

/// What the settings on the command line would cost; adds to `document`.
void report_bops(const InspectFlags& flags, const std::vector<SiteShape>& shapes, nlohmann::json& document) {
  const QuantizeJob job = flags.quantize.job();
  if (job.allocate) fail("--bops needs a number of groups: --groups auto is decided by measurement in `igq quantize`");
  const BopsTable bops = count_bops(shapes, job.options);
  Table table({"site", "weights", "activations", "groups", "products GBOPs", "partial sums", "grouping", "total"});
  auto giga = [](std::int64_t value) { return static_cast<double>(value) / 1e9; };
  nlohmann::json sites = nlohmann::json::array();
  for (const SiteBops& s : bops.sites) {
    sites.push_back({{"site", s.name},
                     {"groups", s.setting.groups},
                     {"products_gbops", giga(s.products)},
                     {"additions_gbops", giga(s.additions)},
                     {"grouping_gbops", giga(s.grouping)},
                     {"gbops", giga(s.total())}});
    table.add({s.name, fmt::format("{}", s.setting.weight_bits), fmt::format("{}", s.setting.activation_bits),
               fmt::format("{}", s.setting.groups), fmt::format("{:.3f}", giga(s.products)),
               fmt::format("{:.3f}", giga(s.additions)), fmt::format("{:.3f}", giga(s.grouping)),
               fmt::format("{:.3f}", giga(s.total()))});
  }
  document["bops_settings"] = job_text(job);
  document["bops_sites"] = std::move(sites);
  document["gbops"] = giga(bops.total);
  document["gbops_one_group"] = giga(bops.one_group);
  document["gbops_float"] = giga(bops.float_total);
  document["bops_overhead_percent"] = bops.overhead_percent();
  if (flags.json) return;
  std::cout << '\n' << job_text(job) << '\n' << table.text();
  std::cout << fmt::format(
      "total {:.2f} GBOPs, {:.2f} with one group per layer (groups add {:.2f} %), {:.1f} in float\n", giga(bops.total),
      giga(bops.one_group), bops.overhead_percent(), giga(bops.float_total));
}

void inspect_model(const InspectFlags& flags) {
  if (!flags.model.path.empty() && names_detector(flags.model)) {
    if (flags.bops) fail("--bops is for classifiers: a detector's operations depend on the picture");
    return inspect_detector(flags.model, flags.json);
  }
  ModelConfig config;
  LoadedModel loaded;
  const bool has_model = !flags.model.path.empty();
  if (has_model) {
    loaded = flags.model.load();
    config = loaded.model->config();
  } else {
    if (flags.model.architecture.empty()) throw CLI::RequiredError("MODEL, --arch NAME or --list");
    config = architecture_config(flags.model.architecture);
    const CheckpointOptions options = flags.model.checkpoint_options();
    if (options.image_height > 0) {
      config.image_height = options.image_height;
      config.image_width = options.image_width;
      config_from_json(config_to_json(config));  // an Error where the size does not fit the patches
    }
  }
  const std::vector<SiteShape> shapes = site_shapes(config);
  const QuantizationPlan* plan = has_model ? loaded.model->plan() : nullptr;
  if (flags.json) {
    nlohmann::json document = {{"config", config_to_json(config)},
                               {"parameters", count_parameters(config)},
                               {"macs", count_macs(config)},
                               {"sites", sites_json(shapes)}};
    if (has_model) document["model"] = loaded.name;
    if (loaded.quantized) {
      document["plan"] = plan_to_json(*plan);
      document["provenance"] = provenance_to_json(loaded.provenance);
      document["report"] = loaded.report;
      document["file_mb"] = static_cast<double>(std::filesystem::file_size(flags.model.path)) / 1e6;
    }
    if (flags.bops) report_bops(flags, shapes, document);
    print_json(document);
    return;
  }
  std::cout << fmt::format("{}: input {}x{}x{}, {} classes, {} parameters, {} multiply-adds\n",
                           config.architecture.empty() ? "model" : printable(config.architecture), config.in_channels,
                           config.image_height, config.image_width, config.num_classes,
                           scaled(static_cast<double>(count_parameters(config))),
                           scaled(static_cast<double>(count_macs(config))));
  const PreprocessConfig& p = config.preprocess;
  const std::string resize = p.resize_short > 0 ? fmt::format("short side to {}", p.resize_short)
                             : p.resize_height > 0
                                 ? fmt::format("resize to {}x{}", p.resize_height, p.resize_width)
                                 : fmt::format("crop {} ({})", p.crop_pct, crop_mode_name(p.crop_mode));
  std::cout << fmt::format("preprocessing: {}, {}, mean {:.4g} {:.4g} {:.4g}, std {:.4g} {:.4g} {:.4g}\n",
                           interpolation_name(p.interpolation), resize, p.mean[0], p.mean[1], p.mean[2], p.std[0],
                           p.std[1], p.std[2]);
  std::cout << fmt::format("orientation of pictures: {}\n", orientation_name(p.orientation));
  if (loaded.quantized) {
    std::cout << fmt::format("quantized from {} ({}) on {} images ({}), igq {}\nsettings: {}\n",
                             printable(loaded.provenance.source), printable(loaded.provenance.source_checksum),
                             loaded.provenance.calibration_images, printable(loaded.provenance.calibration_checksum),
                             printable(loaded.provenance.tool_version), printable(loaded.provenance.settings));
  }
  std::cout << '\n';
  print_sites(shapes, plan);
  nlohmann::json unused;
  if (flags.bops) report_bops(flags, shapes, unused);
}

}  // namespace

void add_inspect(CLI::App& app, int&) {
  auto* verb = app.add_subcommand("inspect",
                                  "architecture, sites and plan of a model; --list names the architectures igq knows");
  const auto flags = std::make_shared<InspectFlags>();
  flags->model.add_to(*verb, false);
  verb->add_flag("--list", flags->list, "list the known architectures with parameters and multiply-adds");
  verb->add_flag("--bops", flags->bops, "bit operations per site and in total, for the settings of the flags below");
  flags->quantize.add_to(*verb);
  verb->add_flag("--json", flags->json, "print one JSON document on stdout");
  verb->callback([flags] {
    if (flags->list)
      list_all(flags->json);
    else
      inspect_model(*flags);
  });
}

}  // namespace igq::cli
