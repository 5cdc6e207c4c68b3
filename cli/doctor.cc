// igq doctor: what this machine gives a process of igq - instruction sets, processors, quota, threads and why so many,
// memory - and, for a model, what it takes here, measured by loading and running it once.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <memory>
#include <optional>

#include "base/processors.h"
#include "common.h"
#include "eval/benchmark.h"
#include "igq/isa.h"
#include "igq/version.h"
#include "verbs.h"

namespace igq::cli {
namespace {

struct DoctorFlags {
  ModelFlags model;
  RunFlags run;
};

/// MemAvailable of /proc/meminfo in MB; nothing where there is no such file.
std::optional<double> available_memory_mb() {
  std::ifstream in("/proc/meminfo");
  for (std::string name, unit; in >> name;) {
    double kilobytes = 0.0;
    if (!(in >> kilobytes)) return std::nullopt;
    std::getline(in, unit);
    if (name == "MemAvailable:") return kilobytes * 1024.0 / 1e6;
  }
  return std::nullopt;
}

/// Where the number of threads comes from, in the order in which default_threads() looks.
std::string why_so_many_threads(const DoctorFlags& flags) {
  const auto is_set = [](const char* name) {
    const char* value = std::getenv(name);
    return value != nullptr && *value != '\0';
  };
  if (flags.run.threads > 0) return "--threads";
  if (is_set("IGQ_NUM_THREADS")) return "IGQ_NUM_THREADS";
  if (is_set("OMP_NUM_THREADS")) return "OMP_NUM_THREADS";
  const auto quota = cpu_quota();
  return quota && *quota < allowed_processors() ? "quota of the control group, rounded down"
                                                : "processors that this process may run on";
}

struct ModelNeeds {
  std::string name, execution;
  int threads_started = 0;
  double peak_mb = 0.0, scratch_mb = 0.0;
};

ModelNeeds measure(const DoctorFlags& flags) {
  LoadedModel loaded = flags.model.load();
  const Execution execution = flags.run.execution_for(loaded);
  Runner runner(*loaded.model, execution, flags.run.parsed_isa(), flags.run.threads);
  const AlignedBuffer<float> image = synthetic_images(loaded.model->config(), 1, 0);
  runner.run(image.data());
  return {loaded.name, std::string(execution_name(execution)), runner.threads(), peak_rss_mb(),
          static_cast<double>(runner.scratch_bytes()) / 1e6};
}

void run_doctor(const DoctorFlags& flags) {
  std::vector<std::string> sets;
  for (const Isa isa : supported_isas()) sets.emplace_back(isa_name(isa));
  const std::string chosen(isa_name(flags.run.parsed_isa()));
  const auto quota = cpu_quota();
  const auto memory = available_memory_mb();
  const int threads = default_threads();
  nlohmann::json document = {{"version", IGQ_VERSION},
                             {"cpu", cpu_name()},
                             {"instruction_sets", sets},
                             {"isa", chosen},
                             {"processors_allowed", allowed_processors()},
                             {"cpu_quota", quota ? nlohmann::json(*quota) : nlohmann::json()},
                             {"threads", threads},
                             {"threads_from", why_so_many_threads(flags)},
                             {"memory_available_mb", memory ? nlohmann::json(*memory) : nlohmann::json()}};
  std::string text = fmt::format(
      "igq {}\nprocessor         {}\ninstruction sets  {} ({} will be used)\nprocessors        {} allowed, quota {}\n"
      "threads           {}, from: {}\nmemory available  {}\n",
      IGQ_VERSION, cpu_name(), fmt::join(sets, ", "), chosen, allowed_processors(),
      quota ? fmt::format("{:.2f}", *quota) : "none", threads, why_so_many_threads(flags),
      memory ? fmt::format("{:.0f} MB", *memory) : "unknown");
  if (!flags.model.path.empty()) {
    const ModelNeeds needs = measure(flags);
    document["model"] = {{"name", needs.name},
                         {"execution", needs.execution},
                         {"threads_started", needs.threads_started},
                         {"peak_rss_mb", needs.peak_mb},
                         {"scratch_mb", needs.scratch_mb}};
    text += fmt::format(
        "model             {}, {}: {:.0f} MB at most while it was loaded and run once, of them {:.1f} MB of scratch\n",
        needs.name, needs.execution, needs.peak_mb, needs.scratch_mb);
    if (memory && needs.peak_mb > *memory)
      note(fmt::format("igq: WARNING: the model takes {:.0f} MB, more than the {:.0f} MB that are free", needs.peak_mb,
                       *memory));
  }
  if (flags.run.json)
    print_json(document);
  else
    std::cout << text;
}

}  // namespace

void add_doctor(CLI::App& app, int&) {
  auto* verb = app.add_subcommand("doctor", "what this machine gives igq, and what a model takes here");
  const auto flags = std::make_shared<DoctorFlags>();
  flags->model.add_to(*verb, false);
  flags->run.add_to(*verb);
  verb->callback([flags] { run_doctor(*flags); });
}

}  // namespace igq::cli
