#include "base/text.h"

#include <gtest/gtest.h>

#include "base/fail.h"

namespace igq {
namespace {

TEST(Text, WhatPeopleReadStays) {
  for (const std::string text :
       {"", "a plain line, 100 %", "\xc3\xa9l\xc3\xa9phant", "\xe7\x8c\xab", "\xf0\x9f\x90\x88", "C:\\folder", "a\\nb"})
    EXPECT_EQ(printable(text), text);
}

TEST(Text, WhatATerminalObeysIsShown) {
  EXPECT_EQ(printable("a\nb\r\tc"), "a\\nb\\r\\tc");
  EXPECT_EQ(printable("\x1b[31mred\x7f"), "\\x1b[31mred\\x7f");
  EXPECT_EQ(printable(std::string("a\0b", 3)), "a\\x00b");
  EXPECT_EQ(printable("\xc2\x9b"
                      "31m"),
            "\\u009b31m");  // a control sequence in one character
  EXPECT_EQ(printable("\xe2\x80\xae"
                      "gnp.exe"),
            "\\u202egnp.exe");  // text from right to left
  EXPECT_EQ(printable("a\xe2\x80\xa8"
                      "b\xef\xbb\xbf"),
            "a\\u2028b\\ufeff");  // a line separator, a byte order mark
}

TEST(Text, BytesThatAreNoUtf8AreShown) {
  EXPECT_EQ(printable("caf\xe9"), "caf\\xe9");
  EXPECT_EQ(printable("\xc0\xaf"), "\\xc0\\xaf");                    // overlong
  EXPECT_EQ(printable("\xed\xa0\x80"), "\\xed\\xa0\\x80");           // half of a surrogate pair
  EXPECT_EQ(printable("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");  // beyond Unicode
  EXPECT_EQ(printable("\xe7\x8c"), "\\xe7\\x8c");                    // cut short
  EXPECT_EQ(printable("\xff"), "\\xff");
}

TEST(Text, PrintableTwiceIsPrintableOnce) {
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all += static_cast<char>(byte);
  EXPECT_EQ(printable(printable(all)), printable(all));
}

TEST(Text, ErrorsAreOneLineOfBoundedLength) {
  try {
    fail("{}: no such file", "a\nb\x1b");
  } catch (const Error& e) {
    EXPECT_STREQ(e.what(), "a\\nb\\x1b: no such file");
  }
  for (const std::string piece : {"x", "\xc3\xa9", "\xf0\x9f\x90\x88"}) {
    std::string text;
    while (text.size() < 1000000) text += piece;
    const std::string line = message_line("begin" + text + "end");
    EXPECT_LE(line.size(), 8000u);
    EXPECT_EQ(line.substr(0, 5), "begin");
    EXPECT_EQ(line.substr(line.size() - 3), "end");
    EXPECT_EQ(printable(line), line) << "cut within a character";
  }
}

}  // namespace
}  // namespace igq
