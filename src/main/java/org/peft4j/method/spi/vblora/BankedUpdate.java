package org.peft4j.method.spi.vblora;

import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.peft4j.nn.seam.LowRank;
import org.peft4j.nn.seam.Parameter;

/**
 * A and B whose pieces are means of the bank's vectors, weighted by the softmax of the largest logits.
 *
 * @param bank [h, v]
 * @param logitsA [r, in / v, h]
 * @param logitsB [out / v, r, h]
 */
record BankedUpdate(Parameter bank, Parameter logitsA, Parameter logitsB, int topk, double dropout) implements LowRank {
    @Override
    public Tensor a() {
        Tensor pieces = pieces(logitsA); // [r, in / v, v]
        return pieces.reshape(pieces.size(0), pieces.size(1) * pieces.size(2));
    }

    @Override
    public Tensor b() {
        Tensor pieces = pieces(logitsB); // [out / v, r, v]
        return pieces.transpose(1, 2).reshape(pieces.size(0) * pieces.size(2), pieces.size(1));
    }

    private Tensor pieces(Parameter logits) {
        var best = torch.topk(logits.value(), topk);
        Tensor weights = best.get0().softmax(-1).unsqueeze(-2); // [.., .., 1, k]
        return weights.matmul(torch.embedding(bank.value(), best.get1())).squeeze(-2);
    }

    @Override
    public double scale() {
        return 1;
    }
}
