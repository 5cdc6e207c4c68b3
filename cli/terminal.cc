#include "terminal.h"

#include <unistd.h>

#include <string_view>

#include "base/output_file.h"
#include "base/printable.h"

namespace igq::cli {
namespace {

extern "C" void end_by_signal(int signal) {
  remove_temporaries();
  ::signal(signal, SIG_DFL);
  ::raise(signal);
}

/// A line gathered without memory from the heap.
class Line {
 public:
  void add(std::string_view text) {
    for (const char c : text) {
      if (size_ == line_.size()) flush();
      line_[size_++] = c;
    }
  }
  void flush() {
    for (std::size_t done = 0; done < size_;) {
      const ssize_t n = ::write(STDERR_FILENO, line_.data() + done, size_ - done);
      if (n <= 0) break;
      done += static_cast<std::size_t>(n);
    }
    size_ = 0;
  }

 private:
  std::array<char, 1024> line_{};
  std::size_t size_ = 0;
};

}  // namespace

EscapedStream::EscapedStream(std::ostream& stream) : stream_(stream), buffer_(stream.rdbuf()) {
  stream_.rdbuf(&buffer_);
}

EscapedStream::~EscapedStream() { stream_.rdbuf(buffer_.to()); }

EscapedStream::Buffer::int_type EscapedStream::Buffer::overflow(int_type c) {
  if (traits_type::eq_int_type(c, traits_type::eof())) return traits_type::not_eof(c);
  const char one = traits_type::to_char_type(c);
  return xsputn(&one, 1) == 1 ? c : traits_type::eof();
}

std::streamsize EscapedStream::Buffer::xsputn(const char* text, std::streamsize size) {
  bool good = true;
  escape_controls(std::string_view(text, static_cast<std::size_t>(size)), true, [&](std::string_view piece) {
    const auto count = static_cast<std::streamsize>(piece.size());
    good = good && to_->sputn(piece.data(), count) == count;
  });
  return good ? size : 0;
}

void print_error(const char* text) noexcept {
  Line line;
  line.add("igq: error: ");
  escape_controls(text, false, [&](std::string_view piece) { line.add(piece); });
  line.add("\n");
  line.flush();
}

SignalCleaning::SignalCleaning() {
  for (std::size_t i = 0; i < kSignals.size(); ++i) {
    struct sigaction now {};
    if (::sigaction(kSignals[i], nullptr, &now) != 0 || now.sa_handler != SIG_DFL) continue;
    now.sa_handler = kSignals[i] == SIGXFSZ ? SIG_IGN : end_by_signal;
    ::sigfillset(&now.sa_mask);
    changed_[i] = ::sigaction(kSignals[i], &now, nullptr) == 0;
  }
}

SignalCleaning::~SignalCleaning() {
  for (std::size_t i = 0; i < kSignals.size(); ++i)
    if (changed_[i]) ::signal(kSignals[i], SIG_DFL);
}

}  // namespace igq::cli
