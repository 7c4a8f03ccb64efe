package org.peft4j.data.tokenizer;

import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;
import org.peft4j.data.tokenizer.DecodeStep.Sink;

/** The decoders, as the library has them. */
final class DecodeSteps {
    private static final String REPLACEMENT = "\uFFFD";

    private DecodeSteps() {}

    /** A run of a step that hands on the end. */
    private abstract static class Stage implements Sink {
        final Sink next;

        Stage(Sink next) {
            this.next = next;
        }

        @Override
        public void end() {
            next.end();
        }
    }

    /** Tokens with blanks between them: what there is without a decoder. */
    static DecodeStep blanksBetween() {
        return (next, pieces) -> new Stage(next) {
            private boolean later;

            @Override
            public void token(String token) {
                next.token(later ? " " + token : token);
                later = true;
            }
        };
    }

    /** One token of all, in pieces. */
    static DecodeStep fuse() {
        return new DecodeStep() {
            @Override
            public Sink before(Sink next, boolean pieces) {
                return next;
            }

            @Override
            public boolean fuses() {
                return true;
            }

            @Override
            public boolean takesPieces() {
                return true;
            }
        };
    }

    /** One token of pieces. */
    static Sink collected(Sink next) {
        return new Stage(next) {
            private final StringBuilder all = new StringBuilder();

            @Override
            public void token(String token) {
                all.append(token);
            }

            @Override
            public void end() {
                next.token(all.toString());
                super.end();
            }
        };
    }

    /** Characters that stand for bytes; a token with another character is taken as it is. */
    static DecodeStep byteLevel() {
        return new DecodeStep() {
            @Override
            public Sink before(Sink next, boolean pieces) {
                return new Stage(next) {
                    private final Utf8Pieces bytes = new Utf8Pieces();

                    @Override
                    public void token(String token) {
                        next.token(bytes.add(ByteLetters.bytes(token)));
                    }

                    @Override
                    public void end() {
                        next.token(bytes.end());
                        super.end();
                    }
                };
            }

            @Override
            public boolean fuses() {
                return true;
            }
        };
    }

    /** Tokens {@code <0x0A>} are bytes. Those of a run are UTF-8 together, or each is U+FFFD: certain at the run's end. */
    static DecodeStep byteFallback() {
        return (next, pieces) -> new Stage(next) {
            private final List<Byte> run = new ArrayList<>();

            @Override
            public void token(String token) {
                Integer value = byteOf(token);
                if (value == null) {
                    endRun();
                    next.token(token);
                } else {
                    run.add(value.byteValue());
                }
            }

            private void endRun() {
                if (run.isEmpty()) {
                    return;
                }
                byte[] bytes = new byte[run.size()];
                for (int i = 0; i < bytes.length; i++) {
                    bytes[i] = run.get(i);
                }
                run.clear();
                String text = strict(bytes);
                if (text != null) {
                    next.token(text);
                    return;
                }
                for (int i = 0; i < bytes.length; i++) {
                    next.token(REPLACEMENT);
                }
            }

            @Override
            public void end() {
                endRun();
                super.end();
            }
        };
    }

    private static @Nullable Integer byteOf(String token) {
        boolean named = token.length() == 6 && token.startsWith("<0x") && token.endsWith(">");
        if (!named || Character.digit(token.charAt(4), 16) < 0 || token.charAt(4) > 'f') {
            return null;
        }
        if (token.charAt(3) == '+') {
            return Character.digit(token.charAt(4), 16); // the library's numbers may have a sign
        }
        return token.charAt(3) > 'f' || Character.digit(token.charAt(3), 16) < 0
                ? null
                : Integer.valueOf(token.substring(3, 5), 16);
    }

    private static @Nullable String strict(byte[] bytes) {
        try {
            return StandardCharsets.UTF_8
                    .newDecoder()
                    .decode(ByteBuffer.wrap(bytes))
                    .toString();
        } catch (CharacterCodingException e) {
            return null;
        }
    }

    /** Each of these characters is a blank; in the first token nothing, if the tokenizer puts one in front of texts. */
    static DecodeStep metaspace(int replacement, boolean prepends) {
        String letter = Character.toString(replacement);
        return (next, pieces) -> new Stage(next) {
            private boolean later;

            @Override
            public void token(String token) {
                next.token(token.replace(letter, later || !prepends ? " " : ""));
                later = true;
            }
        };
    }

    /** Tokens with the prefix go on with a word, others begin one. */
    static DecodeStep wordPiece(String prefix, boolean cleanup) {
        return (next, pieces) -> new Stage(next) {
            private boolean later;

            @Override
            public void token(String token) {
                String text =
                        !later ? token : token.startsWith(prefix) ? token.substring(prefix.length()) : " " + token;
                next.token(cleanup ? Cleanup.ofTokens(text) : text);
                later = true;
            }
        };
    }

    /** Tokens with the suffix end a word. The last token has no blank behind it, so each waits for the next. */
    static DecodeStep suffix(String suffix) {
        return (next, pieces) -> new Stage(next) {
            private @Nullable String last;

            @Override
            public void token(String token) {
                give(" ");
                last = token;
            }

            private void give(String blank) {
                if (last != null) {
                    next.token(last.replace(suffix, blank));
                }
            }

            @Override
            public void end() {
                give("");
                super.end();
            }
        };
    }

    /** A token that stands there several times in a row is one; pads are nothing. */
    static DecodeStep ctc(String pad, String delimiter, boolean cleanup) {
        return (next, pieces) -> new Stage(next) {
            private @Nullable String last;

            @Override
            public void token(String token) {
                if (token.equals(last)) {
                    return;
                }
                last = token;
                String text = token.replace(pad, "");
                if (cleanup) {
                    text = Cleanup.ofTokens(text).replace(delimiter, " ");
                }
                if (!text.isEmpty()) {
                    next.token(text);
                }
            }
        };
    }

    static DecodeStep replace(String text, String content) {
        return (next, pieces) -> new Stage(next) {
            @Override
            public void token(String token) {
                next.token(token.replace(text, content));
            }
        };
    }

    /** Takes a character away from the beginning of a token, up to {@code start} times, and from its end. */
    static DecodeStep strip(int character, long start, long stop) {
        return new DecodeStep() {
            @Override
            public Sink before(Sink next, boolean pieces) {
                return new Stage(next) {
                    private long left = start;

                    @Override
                    public void token(String token) {
                        left = pieces ? left : start;
                        int from = 0;
                        while (left > 0 && from < token.length()) {
                            if (token.codePointAt(from) != character) {
                                left = 0;
                            } else {
                                left--;
                                from += Character.charCount(character);
                            }
                        }
                        int to = token.length();
                        for (long i = 0; i < stop && to > from && token.codePointBefore(to) == character; i++) {
                            to -= Character.charCount(character);
                        }
                        next.token(token.substring(from, to));
                    }
                };
            }

            @Override
            public boolean takesPieces() {
                return stop == 0;
            }
        };
    }

    /** What ByteLevel writes for bytes: visible letters. */
    private static final class ByteLetters {
        private static final Map<Integer, Byte> BYTES = new TreeMap<>();

        static {
            int other = 256;
            for (int b = 0; b < 256; b++) {
                boolean visible = (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
                BYTES.put(visible ? b : other++, (byte) b);
            }
        }

        static byte[] bytes(String token) {
            byte[] bytes = new byte[token.length()];
            for (int i = 0; i < bytes.length; i++) {
                Byte value = BYTES.get((int) token.charAt(i));
                if (value == null) {
                    return token.getBytes(StandardCharsets.UTF_8);
                }
                bytes[i] = value;
            }
            return bytes;
        }
    }
}
