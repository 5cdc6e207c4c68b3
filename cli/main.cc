// The igq program: parses the command line, runs one verb, turns every fault into one clear line and an exit code
// (0 ok, 1 failed, 2 usage, 3 an accuracy gate not met).
#include <exception>
#include <iostream>
#include <new>

#include "common.h"
#include "igq/version.h"
#include "verbs.h"

int main(int argc, char** argv) {
  using namespace igq::cli;
  CLI::App app{
      "igq quantizes vision transformers (ViT, DeiT, DINOv2, Swin) to 2 to 8 bits by instance-aware group quantization\n"
      "and runs them in integers on the CPU.\n\n"
      "  igq quantize MODEL --calib DIR -o model.igq    make a small quantized model from a checkpoint and 32 images\n"
      "  igq eval model.igq --data-dir DIR              its accuracy on a folder of labelled images\n"
      "  igq predict model.igq photo.jpg                what is in a picture\n",
      "igq"};
  app.set_version_flag("--version", "igq " IGQ_VERSION);
  app.require_subcommand(1);
  app.failure_message(CLI::FailureMessage::simple);
  int exit_code = kOk;
  add_inspect(app, exit_code);
  add_quantize(app, exit_code);
  add_eval(app, exit_code);
  add_predict(app, exit_code);
  add_bench(app, exit_code);
  add_compare(app, exit_code);
  add_table(app, exit_code);
  try {
    app.parse(argc, argv);
    return exit_code;
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? kOk : kUsage;
  } catch (const igq::Error& e) {
    std::cerr << "igq: error: " << e.what() << '\n';
  } catch (const std::bad_alloc&) {
    std::cerr << "igq: error: out of memory\n";
  } catch (const std::exception& e) {
    std::cerr << "igq: error: " << e.what() << '\n';
  }
  return kFailed;
}
