// The verbs of igq, one file each. add_* declares a verb's flags; its work runs when the command line names it.
#pragma once

#include <CLI/CLI.hpp>
#include <vector>

namespace igq::cli {

void add_inspect(CLI::App& app, int& exit_code);
void add_quantize(CLI::App& app, int& exit_code);
void add_eval(CLI::App& app, int& exit_code);
void add_predict(CLI::App& app, int& exit_code);
void add_embed(CLI::App& app, int& exit_code);
void add_bench(CLI::App& app, int& exit_code);
void add_compare(CLI::App& app, int& exit_code);
void add_table(CLI::App& app, int& exit_code);
void add_report(CLI::App& app, int& exit_code);
void add_doctor(CLI::App& app, int& exit_code);
void add_completion(CLI::App& app, int& exit_code);
void add_man(CLI::App& app, int& exit_code);

/// The verbs that were added.
std::vector<const CLI::App*> verbs_of(const CLI::App& app);

/// All of them, in the order of the help.
void add_verbs(CLI::App& app, int& exit_code);

}  // namespace igq::cli
