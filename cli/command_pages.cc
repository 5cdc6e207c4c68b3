// igq completion and igq man: what the shell completes and the manual page, both made by walking the definitions of the
// command line, so that they never tell of flags that are not there.
#include <fmt/format.h>

#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "common.h"
#include "igq/version.h"
#include "verbs.h"

namespace igq::cli {
namespace {

std::vector<const CLI::Option*> options_of(const CLI::App& verb) {
  return verb.get_options(
      [](const CLI::Option* option) { return !option->get_positional() || option->nonpositional(); });
}

/// "--name" and "-n" of an option.
std::vector<std::string> flags_of(const CLI::Option& option) {
  std::vector<std::string> flags;
  for (const std::string& name : option.get_lnames()) flags.push_back("--" + name);
  for (const std::string& name : option.get_snames()) flags.push_back("-" + name);
  return flags;
}

/// The words of an option that takes one of a set, "TEXT:{auto,exif}"; none for others.
std::vector<std::string> choices_of(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  const auto open = type.find('{'), close = type.find('}');
  std::vector<std::string> words;
  if (open == std::string::npos || close == std::string::npos || close < open) return words;
  for (std::size_t at = open + 1; at <= close;) {
    const std::size_t end = std::min(type.find(',', at), close);
    words.push_back(type.substr(at, end - at));
    at = end + 1;
  }
  return words;
}

bool takes_value(const CLI::Option& option) { return option.get_items_expected_max() > 0; }

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

std::vector<std::string> verb_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* verb : verbs_of(app)) names.push_back(verb->get_name());
  return names;
}

std::string bash_completion(const CLI::App& app) {
  std::string flags, choices;
  for (const CLI::App* verb : verbs_of(app)) {
    std::vector<std::string> all;
    for (const CLI::Option* option : options_of(*verb)) {
      const auto names = flags_of(*option);
      all.insert(all.end(), names.begin(), names.end());
      if (const auto words = choices_of(*option); !words.empty())
        for (const std::string& name : names)
          choices += fmt::format("    {}:{}) words='{}' ;;\n", verb->get_name(), name, joined(words));
    }
    flags += fmt::format("    {}) flags='{}' ;;\n", verb->get_name(), joined(all));
  }
  return fmt::format(
      "# Completion of igq {} for bash: eval \"$(igq completion bash)\"\n"
      "_igq() {{\n"
      "  local current=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} verb=${{COMP_WORDS[1]}} flags= "
      "words=\n"
      "  if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
      "    mapfile -t COMPREPLY < <(compgen -W '{} --help --version' -- \"$current\")\n"
      "    return\n"
      "  fi\n"
      "  case \"$verb\" in\n{}  esac\n"
      "  case \"$verb:$before\" in\n{}  esac\n"
      "  if [ -n \"$words\" ]; then\n"
      "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$current\")\n"
      "  elif [[ $current == -* ]]; then\n"
      "    mapfile -t COMPREPLY < <(compgen -W \"$flags\" -- \"$current\")\n"
      "  else\n"
      "    mapfile -t COMPREPLY < <(compgen -f -- \"$current\")\n"
      "  fi\n"
      "}}\n"
      "complete -o filenames -F _igq igq\n",
      IGQ_VERSION, joined(verb_names(app)), flags, choices);
}

/// In single quotes of a shell, on one line.
std::string quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'')
      out += "'\\''";
    else
      out += c == '\n' ? ' ' : c;
  }
  return out + "'";
}

std::string zsh_completion(const CLI::App& app) {
  std::string verbs, cases;
  const auto plain = [](std::string text) {  // of _arguments' own marks
    for (char& c : text)
      if (c == '[' || c == ']' || c == ':') c = ' ';
    return text;
  };
  for (const CLI::App* verb : verbs_of(app)) {
    verbs += fmt::format("    {}\n", quoted(verb->get_name() + ":" + plain(verb->get_description())));
    cases += fmt::format("    {})\n      _arguments \\\n", verb->get_name());
    for (const CLI::Option* option : options_of(*verb)) {
      const auto words = choices_of(*option);
      const std::string value = !takes_value(*option) ? ""
                                : words.empty()       ? ":value:_files"
                                                      : ":value:(" + joined(words) + ")";
      for (const std::string& name : flags_of(*option))
        cases += fmt::format("        {} \\\n", quoted(name + "[" + plain(option->get_description()) + "]" + value));
    }
    cases += "        '*:file:_files'\n      ;;\n";
  }
  return fmt::format(
      "#compdef igq\n# Completion of igq {} for zsh: igq completion zsh > \"${{fpath[1]}}/_igq\"\n"
      "local -a verbs\nverbs=(\n{})\n"
      "if (( CURRENT == 2 )); then\n  _describe 'verb' verbs\nelse\n  local verb=${{words[2]}}\n"
      "  shift words; (( CURRENT-- ))\n  case \"$verb\" in\n{}  esac\nfi\n",
      IGQ_VERSION, verbs, cases);
}

std::string fish_completion(const CLI::App& app) {
  std::string text = fmt::format(
      "# Completion of igq {} for fish: igq completion fish > ~/.config/fish/completions/igq.fish\n", IGQ_VERSION);
  for (const CLI::App* verb : verbs_of(app))
    text += fmt::format("complete -c igq -n __fish_use_subcommand -f -a {} -d {}\n", verb->get_name(),
                        quoted(verb->get_description()));
  for (const CLI::App* verb : verbs_of(app)) {
    for (const CLI::Option* option : options_of(*verb)) {
      text += fmt::format("complete -c igq -n '__fish_seen_subcommand_from {}'", verb->get_name());
      for (const std::string& name : option->get_lnames()) text += " -l " + name;
      for (const std::string& name : option->get_snames()) text += " -s " + name;
      if (takes_value(*option)) text += " -r";
      if (const auto words = choices_of(*option); !words.empty()) text += " -f -a " + quoted(joined(words));
      text += " -d " + quoted(option->get_description()) + "\n";
    }
  }
  return text;
}

/// Text of a manual page: no character of it is a command.
std::string roff(const std::string& text) {
  std::string out;
  bool line_begins = true;
  for (const char c : text) {
    if (line_begins && (c == '.' || c == '\'')) out += "\\&";
    if (c == '\\')
      out += "\\e";
    else if (c == '-')
      out += "\\-";
    else
      out += c;
    line_begins = c == '\n';
  }
  return out;
}

std::string manual(const CLI::App& app) {
  std::string text = fmt::format(
      ".TH IGQ 1 \"\" \"igq {}\" \"User Commands\"\n.SH NAME\nigq \\- vision transformers in 2 to 8 bits, in integers "
      "on "
      "the CPU\n.SH SYNOPSIS\n.B igq\n.I VERB\n[\\fIOPTIONS\\fR]\n.SH DESCRIPTION\n.nf\n{}\n.fi\n",
      IGQ_VERSION, roff(app.get_description()));
  for (const CLI::App* verb : verbs_of(app)) {
    text += fmt::format(".SH {}\n{}\n", roff("igq " + verb->get_name()), roff(verb->get_description()));
    for (const CLI::Option* option : verb->get_options([](const CLI::Option*) { return true; })) {
      std::string names;
      if (option->get_positional() && !option->nonpositional()) names = option->get_name(true);
      for (const std::string& name : flags_of(*option)) names += (names.empty() ? "" : ", ") + name;
      const std::string type = takes_value(*option) ? " " + option->get_type_name() : "";
      text += fmt::format(".TP\n\\fB{}\\fR{}\n{}\n", roff(names), roff(type), roff(option->get_description()));
    }
  }
  text +=
      ".SH EXIT STATUS\n0 done, 1 failed (one line on standard error says why), 2 wrong usage, 3 a quality gate was "
      "not "
      "met.\n";
  return text;
}

}  // namespace

void add_completion(CLI::App& app, int&) {
  auto* verb = app.add_subcommand("completion", "print the completion of bash, zsh or fish");
  const auto shell = std::make_shared<std::string>();
  verb->add_option("SHELL", *shell, "bash, zsh or fish")->required()->check(CLI::IsMember({"bash", "zsh", "fish"}));
  verb->callback([&app, shell] {
    std::cout << (*shell == "bash"  ? bash_completion(app)
                  : *shell == "zsh" ? zsh_completion(app)
                                    : fish_completion(app));
  });
}

void add_man(CLI::App& app, int&) {
  app.add_subcommand("man", "print the manual page: igq man | man -l -")->callback([&app] {
    std::cout << manual(app);
  });
}

}  // namespace igq::cli
