package org.peft4j.nn.compose;

import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.SublayerUpdate;

/** Claims of one part at a sublayer, one behind the other; none leave the output as it is. */
record SublayerChain(List<SublayerUpdate> claims) {
    SublayerChain {
        claims = List.copyOf(claims);
    }

    boolean behindNorm() {
        return claims.stream().anyMatch(SublayerUpdate::behindNorm);
    }

    /** @param behind whether what stands behind the norm is wanted, also of claims that stand before it */
    Tensor apply(SublayerUpdate.Sublayer at, ForwardContext context, boolean behind) {
        Tensor y = at.output();
        for (SublayerUpdate claim : claims) {
            y = claim.apply(new SublayerUpdate.Sublayer(at.input(), y, at.residual(), at.norm(), at.rows()), context);
        }
        return behind && !behindNorm() ? at.norm().apply(y) : y;
    }
}
