#include "base/printable.h"

#include <gtest/gtest.h>

namespace igq {
namespace {

TEST(Printable, TextStaysAsItIs) {
  for (const std::string text : {"", "a photo.jpg", "\xc3\xa9t\xc3\xa9", "\xe7\x8c\xab", "\xf0\x9f\x90\x88", "C:\\x"})
    EXPECT_EQ(printable(text), text);
}

TEST(Printable, NothingCommandsTheTerminal) {
  EXPECT_EQ(printable("no\nsuch\r\t"), "no\\nsuch\\r\\t");
  EXPECT_EQ(printable("\x1b[31mred\x07"), "\\x1b[31mred\\x07");
  EXPECT_EQ(printable(std::string("\0\x7f", 2)), "\\x00\\x7f");
  EXPECT_EQ(printable("\xc2\x9b"
                      "31m"),
            "\\u009b31m");  // C1: what ESC [ is in eight bits
  EXPECT_EQ(printable("\xe2\x80\xae"
                      "gpj.exe"),
            "\\u202egpj.exe");                                           // right to left from here
  EXPECT_EQ(printable("\xe2\x80\xa8|\xe2\x81\xa6"), "\\u2028|\\u2066");  // a line separator, an isolate
}

TEST(Printable, BytesThatAreNotUtf8) {
  EXPECT_EQ(printable("\x9b"), "\\x9b");
  EXPECT_EQ(printable("\xc3"), "\\xc3");
  EXPECT_EQ(printable("\xc0\xaf"), "\\xc0\\xaf");  // too long a form
  EXPECT_EQ(printable("\xe0\x80\x9b"), "\\xe0\\x80\\x9b");
  EXPECT_EQ(printable("\xed\xa0\x80"), "\\xed\\xa0\\x80");  // half of a pair
  EXPECT_EQ(printable("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");
  EXPECT_EQ(printable("\xff\xfe"
                      "a"),
            "\\xff\\xfe"
            "a");
}

TEST(Printable, LinesMayStay) {
  std::string text;
  escape_controls("a\n\x1b\tb", true, [&](std::string_view piece) { text += piece; });
  EXPECT_EQ(text, "a\n\\x1b\tb");
}

}  // namespace
}  // namespace igq
