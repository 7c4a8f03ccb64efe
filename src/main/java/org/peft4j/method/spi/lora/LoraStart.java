package org.peft4j.method.spi.lora;

import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.T_TensorTensor_T;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.method.spi.TruncatedSvd;
import org.peft4j.nn.Init;
import org.peft4j.nn.Tensors;

/**
 * The first A and B of a linear layer.
 *
 * @param a [r, in]
 * @param b [out, r]
 */
record LoraStart(Tensor a, Tensor b) {
    /**
     * As the settings say.
     *
     * @param a the path of A, and of B: random values depend on it and the seed
     * @param w the frozen W [out, in], float32
     * @param scale what B A is multiplied with
     */
    static LoraStart of(LoraConfig config, long seed, String a, String b, long r, Tensor w, double scale) {
        long in = w.size(1);
        long out = w.size(0);
        return switch (config.init()) {
            // of EVA only files come here, whose tensors take the place of these
            case KAIMING, EVA -> new LoraStart(Init.kaiming(seed, a, r, in), Tensors.zeros(out, r));
            case GAUSSIAN -> new LoraStart(Init.normal(seed, a, 1.0 / r, r, in), Tensors.zeros(out, r));
            case ORTHOGONAL -> orthogonal(seed, a, b, r, in, out);
            case PISSA ->
                pissa(
                        config.svdIterations() == 0
                                ? TruncatedSvd.exact(w, r)
                                : TruncatedSvd.randomized(w, r, config.svdIterations(), seed, a),
                        scale);
            case OLORA -> olora(w, r);
            case CORDA, LORA_GA -> throw new IllegalStateException(config.init() + " begins with data");
        };
    }

    /** {@code B A} of odd and even rows of one orthogonal matrix, which are orthogonal to each other. */
    private static LoraStart orthogonal(long seed, String a, String b, long r, long in, long out) {
        Tensor q = qr(Init.normal(seed, a + "#Q", 1, r, r)).get0();
        Tensor odd = q.slice(0, some(0), some(r), 2);
        Tensor even = q.slice(0, some(1), some(r), 2);
        Scalar tenth = new Scalar(10.0);
        return new LoraStart(
                Init.normal(seed, a, 1, in, r / 2).matmul(odd).t().div(tenth).contiguous(),
                Init.normal(seed, b, 1, out, r / 2).matmul(even).div(tenth));
    }

    private static org.bytedeco.pytorch.LongOptional some(long value) {
        return new org.bytedeco.pytorch.LongOptional(value);
    }

    /** {@code s B A} is the part of W that the singular values make. */
    private static LoraStart pissa(TruncatedSvd svd, double scale) {
        Tensor root = svd.s().div(new Scalar(scale)).sqrt();
        return new LoraStart(svd.vt().mul(root.unsqueeze(1)), svd.u().mul(root.unsqueeze(0)));
    }

    private static LoraStart olora(Tensor w, long r) {
        T_TensorTensor_T qr = qr(w);
        return new LoraStart(
                qr.get1().narrow(0, 0, r).contiguous(),
                qr.get0().narrow(1, 0, r).contiguous());
    }

    private static T_TensorTensor_T qr(Tensor w) {
        return torch.linalg_qr(w);
    }
}
