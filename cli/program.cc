// The igq program: parses the command line, runs one verb, turns every fault into one clear line and an exit code
// (0 ok, 1 failed, 2 usage, 3 an accuracy gate not met).
#include <algorithm>
#include <csignal>
#include <exception>
#include <iostream>
#include <new>
#include <utility>

#include "base/memory_reserve.h"
#include "base/processors.h"
#include "common.h"
#include "igq/version.h"
#include "list_flags.h"
#include "program.h"
#include "recipe.h"
#include "terminal.h"
#include "verbs.h"

namespace igq::cli {
namespace {

/// What the parser found wrong, in one line; CLI11 says of an unknown verb only that one is required.
void print_usage_error(const CLI::App& app, const CLI::ParseError& fault, int argc, char** argv) {
  std::string verbs;
  bool known = argc < 2 || argv[1][0] == '-';
  for (const CLI::App* verb : verbs_of(app)) {
    verbs += (verbs.empty() ? "" : ", ") + verb->get_name();
    known = known || verb->get_name() == argv[1];
  }
  std::string text = fault.what();
  if (!known)
    text = "unknown verb '" + std::string(argv[1]) + "': use one of " + verbs;
  else if (argc < 2 || argv[1][0] == '-')
    text = "no verb given: use one of " + verbs;
  text = text.substr(0, text.find('\n'));
  const bool verb_given = known && argc >= 2 && argv[1][0] != '-';
  print_error((text + " (igq " + (verb_given ? std::string(argv[1]) + " " : "") + "--help prints the flags)").c_str());
}

/// All of the program; whatever it throws ends in one line.
int run(int argc, char** argv) {
  const EscapedStream out(std::cout), err(std::cerr);
  CLI::App app{
      "igq quantizes vision transformers (ViT, DeiT, DINOv2, Swin) to 2 to 8 bits by instance-aware group "
      "quantization\n"
      "and runs them in integers on the CPU.\n\n"
      "  igq quantize MODEL --calib DIR -o model.igq    make a small quantized model from a checkpoint and 32 images\n"
      "  igq eval model.igq --data-dir DIR              its accuracy on a folder of labelled images\n"
      "  igq predict model.igq photo.jpg                what is in a picture\n"
      "  igq embed model.igq photos/ -o vectors.npy     their vectors, for search\n"
      "  igq report model.igq -o report.html            a page that shows where it loses precision\n",
      "igq"};
  app.set_version_flag("--version", "igq " IGQ_VERSION);
  app.require_subcommand(1);
  int exit_code = kOk;
  add_verbs(app, exit_code);
  for (int i = 1; i < argc; ++i) {
    if (*argv[i] != '\0') continue;
    print_error(fmt::format("argument {} is empty: a variable that is not set?", i).c_str());
    return kUsage;
  }
  try {
    const std::vector<std::string> given = expand_recipe(app, {argv + 1, argv + argc});
    std::vector<std::string> arguments = end_lists(app, given);
    std::reverse(arguments.begin(), arguments.end());  // as the parser wants them
    app.parse(std::move(arguments));
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() != 0) {
      print_usage_error(app, e, argc, argv);
      return kUsage;
    }
    app.exit(e);  // --help, --version
  }
  std::cout.flush();
  if (!std::cout) throw Error("cannot write to standard output");
  if (!closing_note().empty()) note(std::exchange(closing_note(), {}));
  return exit_code;
}

}  // namespace

std::vector<const CLI::App*> verbs_of(const CLI::App& app) {
  return app.get_subcommands([](const CLI::App*) { return true; });
}

void add_verbs(CLI::App& app, int& exit_code) {
  add_inspect(app, exit_code);
  add_quantize(app, exit_code);
  add_eval(app, exit_code);
  add_predict(app, exit_code);
  add_embed(app, exit_code);
  add_bench(app, exit_code);
  add_compare(app, exit_code);
  add_table(app, exit_code);
  add_report(app, exit_code);
  add_doctor(app, exit_code);
  add_completion(app, exit_code);
  add_man(app, exit_code);
}

int run_program(int argc, char** argv) {
  const SignalCleaning signals;
  int exit_code = kFailed;
  try {
    const MemoryReserve reserve;
    exit_code = run(argc, argv);
  } catch (const std::bad_alloc&) {
    print_error("out of memory");
  } catch (const std::exception& e) {
    print_error(e.what());
  }
  set_default_threads(0);
  return exit_code;
}

}  // namespace igq::cli
