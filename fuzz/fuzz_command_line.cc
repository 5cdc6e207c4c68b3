// The command line: any arguments either run a verb or are refused in one line, as usage (CLI::ParseError) or as an
// Error. Input: arguments, each up to a zero byte. Nothing but what lies in an empty folder can be named: separators of
// paths are taken out, and what would measure or calibrate for long has no model to do it with.
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <utility>
#include <vector>

#include "cli/verbs.h"
#include "fuzz/fuzz.h"

namespace {

namespace fs = std::filesystem;

/// An empty folder that the process works in.
void enter_folder() {
  const char* memory = ::access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
  std::string pattern = std::string(memory) + "/igq_fuzz_XXXXXX";
  if (::mkdtemp(pattern.data()) == nullptr || ::chdir(pattern.c_str()) != 0) std::abort();
  static const std::string& path = *new std::string(pattern);
  std::atexit([] {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  });
}

/// Declares the verbs that the arguments name: declaring all of them takes fifty times as long as refusing a line.
/// Those that print every verb's flags get all; without any, a line is usage whichever verbs there are.
void declare_verbs(CLI::App& app, const std::vector<std::string>& arguments, int& exit_code) {
  using namespace igq::cli;
  using Add = void (*)(CLI::App&, int&);
  constexpr std::pair<const char*, Add> kVerbs[] = {
      {"inspect", add_inspect}, {"quantize", add_quantize}, {"eval", add_eval},       {"predict", add_predict},
      {"embed", add_embed},     {"bench", add_bench},       {"compare", add_compare}, {"table", add_table},
      {"report", add_report},   {"doctor", add_doctor}};
  const auto named = [&](const char* name) {
    return std::find(arguments.begin(), arguments.end(), name) != arguments.end();
  };
  if (named("man") || named("completion")) return add_verbs(app, exit_code);
  for (const auto& [name, add] : kVerbs)
    if (named(name)) add(app, exit_code);
  if (verbs_of(app).empty()) add_doctor(app, exit_code);
}

/// What main() does with the arguments, without its exit code.
void run(std::vector<std::string> arguments) {
  using namespace igq::cli;
  CLI::App app{"igq", "igq"};
  app.set_version_flag("--version", "igq");
  app.require_subcommand(1);
  int exit_code = 0;
  declare_verbs(app, arguments, exit_code);
  std::vector<const char*> argv = {"igq"};
  for (const std::string& argument : arguments) argv.push_back(argument.c_str());
  try {
    app.parse(static_cast<int>(argv.size()), argv.data());
  } catch (const CLI::ParseError& e) {
    std::cout << e.what();
    if (e.get_exit_code() == 0) app.exit(e);  // --help
  }
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace igq;
  [[maybe_unused]] static const bool entered = [] {
    enter_folder();
    std::cout.rdbuf(nullptr);
    std::cerr.rdbuf(nullptr);
    return true;
  }();
  fuzz::Bytes in(data, size);
  std::vector<std::string> arguments;
  while (!in.rest().empty() && arguments.size() < 16) {
    std::string text(in.text());
    std::erase(text, '/');
    if (text == ".." || text == "~") continue;
    arguments.push_back(std::move(text));
  }
  // Random weights need no model: sound, but slow.
  if (!arguments.empty() && arguments[0] == "bench")
    std::erase_if(arguments, [](const std::string& a) { return a.starts_with("--arch"); });
  fuzz::expect_error_or_success([&] { run(std::move(arguments)); });
  return 0;
}
