package org.peft4j.data.tokenizer;

import java.util.List;
import org.jspecify.annotations.Nullable;
import org.peft4j.data.tokenizer.Template.Piece;

/**
 * The special tokens of a tokenizer.
 *
 * @param single around one text
 * @param pair around two texts; null if the file has no template that has each of them once
 */
record Templates(Template single, @Nullable Template pair) {
    /** Nothing but the texts, whose types are 0 and 1. */
    static final Templates NONE =
            new Templates(Template.NONE, new Template(List.of(Piece.text(0, 0), Piece.text(1, 1))));

    /** BERT's: {@code [CLS] A [SEP] B [SEP]}. */
    static Templates bert(int cls, int sep) {
        List<Piece> single = List.of(Piece.special(cls, 0), Piece.text(0, 0), Piece.special(sep, 0));
        List<Piece> pair = List.of(
                Piece.special(cls, 0),
                Piece.text(0, 0),
                Piece.special(sep, 0),
                Piece.text(1, 1),
                Piece.special(sep, 1));
        return new Templates(new Template(single), new Template(pair));
    }
}
