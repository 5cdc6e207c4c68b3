// What the program shows: nothing that lies in a file commands the terminal, errors need no memory, and a signal that
// ends the program leaves no temporary file.
#pragma once

#include <signal.h>

#include <array>
#include <ostream>
#include <streambuf>

namespace igq::cli {

/// While it lives, what is written to `stream` passes escape_controls(), line breaks kept.
class EscapedStream {
 public:
  explicit EscapedStream(std::ostream& stream);
  ~EscapedStream();
  EscapedStream(const EscapedStream&) = delete;
  EscapedStream& operator=(const EscapedStream&) = delete;

 private:
  class Buffer : public std::streambuf {
   public:
    explicit Buffer(std::streambuf* to) : to_(to) {}
    std::streambuf* to() const { return to_; }

   protected:
    int_type overflow(int_type c) override;
    std::streamsize xsputn(const char* text, std::streamsize size) override;
    int sync() override { return to_->pubsync(); }

   private:
    std::streambuf* to_;
  };

  std::ostream& stream_;
  Buffer buffer_;
};

/// "igq: error: TEXT" on one line of standard error.
void print_error(const char* text) noexcept;

/// While it lives, a signal that ends the program (Ctrl-C, SIGTERM, a closed terminal or pipe) removes its temporary
/// files first. Signals that are ignored (nohup), or that the host handles, stay so. A file beyond the limit on sizes
/// is a failed write, not the end of the process.
class SignalCleaning {
 public:
  SignalCleaning();
  ~SignalCleaning();
  SignalCleaning(const SignalCleaning&) = delete;
  SignalCleaning& operator=(const SignalCleaning&) = delete;

 private:
  static constexpr std::array<int, 7> kSignals{SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE, SIGXCPU, SIGXFSZ};
  std::array<bool, kSignals.size()> changed_{};
};

}  // namespace igq::cli
