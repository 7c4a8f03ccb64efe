package org.peft4j.model.decoder;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.peft4j.model.Head;
import org.peft4j.model.Inputs;
import org.peft4j.model.Tokens;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.Points;
import org.peft4j.nn.seam.ReadRows;

/**
 * A head that reads the last token of each text that is not the padding's ({@code pad_token_id}), as transformers' classes
 * for sequence classification do. Packed texts have no padding, so that is their last row; but where the padding's token is
 * also the one that ends texts, transformers cannot tell them apart and reads the row before it. Of a text of nothing else it
 * reads the first row. Behind inserted rows, which transformers takes as embeddings without tokens, it is the last row always.
 *
 * @param head what computes the outputs
 * @param padding the padding's token
 */
record UnpaddedHead(Head head, int padding) implements Head {
    @Override
    public Points points() {
        return head.points();
    }

    @Override
    public ReadRows reads() {
        return head.reads();
    }

    @Override
    public ReadRows reads(Inputs inputs, Packing text) {
        int[] ids = ((Tokens) inputs).ids();
        List<Integer> last = new ArrayList<>();
        boolean padded = false;
        for (int s = 0; s < text.sequences(); s++) {
            int begin = (int) text.begin(s);
            int token = text.length(s) - 1;
            while (token > 0 && ids[begin + token] == padding) {
                token--;
            }
            last.add(token);
            padded |= token < text.length(s) - 1;
        }
        return padded ? ReadRows.token(last) : reads();
    }

    @Override
    public Tensor forward(Tensor h, Packing rows, ForwardContext context) {
        return head.forward(h, rows, context);
    }

    @Override
    public void close() {
        head.close();
    }
}
