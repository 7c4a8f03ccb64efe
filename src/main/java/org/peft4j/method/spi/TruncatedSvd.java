package org.peft4j.method.spi;

import org.bytedeco.pytorch.T_TensorTensorTensor_T;
import org.bytedeco.pytorch.T_TensorTensor_T;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.peft4j.nn.Init;

/**
 * The largest singular values of a matrix and their vectors, {@code w ≈ u diag(s) vt}.
 *
 * @param u [out, r]
 * @param s [r], from large to small
 * @param vt [r, in]
 */
public record TruncatedSvd(Tensor u, Tensor s, Tensor vt) {
    /** The first r. */
    public static TruncatedSvd exact(Tensor w, long r) {
        T_TensorTensorTensor_T all = torch.linalg_svd(w, false, new org.bytedeco.pytorch.StringViewOptional());
        return new TruncatedSvd(
                all.get0().narrow(1, 0, r),
                all.get1().narrow(0, 0, r),
                all.get2().narrow(0, 0, r));
    }

    /** Sides up to this are decomposed exactly by {@link #largest}: it takes a moment. */
    private static final long SMALL = 256;

    private static final int ITERATIONS = 4;

    /**
     * The first r: exactly for small matrices, else by subspace iterations with twice as many columns. The largest element of each row
     * of vt is positive: the libraries' signs are their own.
     *
     * @param path that random columns depend on, with the seed
     */
    public static TruncatedSvd largest(Tensor w, long r, long seed, String path) {
        long side = Math.min(w.size(0), w.size(1));
        if (side <= Math.max(SMALL, 2 * r)) {
            return exact(w, r).signed();
        }
        TruncatedSvd more = randomized(w, 2 * r, ITERATIONS, seed, path);
        return new TruncatedSvd(more.u.narrow(1, 0, r), more.s.narrow(0, 0, r), more.vt.narrow(0, 0, r)).signed();
    }

    private TruncatedSvd signed() {
        Tensor signs = vt.gather(1, vt.abs().argmax(new org.bytedeco.pytorch.LongOptional(1), true))
                .sign();
        return new TruncatedSvd(u.mul(signs.t()), s, vt.mul(signs));
    }

    /**
     * The first r, nearly: by subspace iterations from random columns (Halko, Martinsson and Tropp 2011, algorithm 4.4).
     *
     * @param iterations more of them come nearer; 4 to 16 are usual
     */
    public static TruncatedSvd randomized(Tensor w, long r, int iterations, long seed, String path) {
        Tensor start = Init.normal(seed, path, 1, w.size(1), r).to(w.device(), w.scalar_type());
        Tensor q = orthogonal(w.matmul(start));
        for (int i = 0; i < iterations; i++) {
            q = orthogonal(w.t().matmul(q));
            q = orthogonal(w.matmul(q));
        }
        T_TensorTensorTensor_T inside =
                torch.linalg_svd(q.t().matmul(w), false, new org.bytedeco.pytorch.StringViewOptional());
        return new TruncatedSvd(q.matmul(inside.get0()), inside.get1(), inside.get2());
    }

    /** Columns that span the same space, orthonormal. */
    private static Tensor orthogonal(Tensor columns) {
        T_TensorTensor_T qr = torch.linalg_qr(columns);
        return qr.get0();
    }
}
