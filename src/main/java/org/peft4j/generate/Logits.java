package org.peft4j.generate;

/** Sums over a vocabulary. */
final class Logits {
    private Logits() {}

    /** {@code log(sum(exp(z)))}. */
    static double logSumExp(float[] z) {
        float most = z[Sampler.likeliest(z)];
        double sum = 0;
        for (float value : z) {
            sum += Math.exp((double) value - most);
        }
        return most + Math.log(sum);
    }

    /** Log-probabilities in place of logits. */
    static void logSoftmax(float[] z) {
        double sum = logSumExp(z);
        for (int i = 0; i < z.length; i++) {
            z[i] = (float) (z[i] - sum);
        }
    }
}
