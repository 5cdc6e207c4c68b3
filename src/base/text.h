// Text from outside - file names, labels, contents of files - on its way into a message or onto a terminal.
#pragma once

#include <string>
#include <string_view>

namespace igq {

/// `text` on one line, harmless to a terminal: line breaks and other control characters, marks that change the
/// direction of text and bytes that are not UTF-8 become "\n", "\x1b", "\u202e"; everything else stays. What was made
/// printable once stays as it is.
std::string printable(std::string_view text);

/// printable(), of a text of more than some thousand characters only its beginning and its end: a message.
std::string message_line(std::string_view text);

}  // namespace igq
