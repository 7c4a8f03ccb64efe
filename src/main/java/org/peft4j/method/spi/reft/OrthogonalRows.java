package org.peft4j.method.spi.reft;

import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.ops.Device;

/**
 * R [r, width] with orthonormal rows, whatever is trained: the map of {@code torch.nn.utils.parametrizations.orthogonal} with Householder
 * reflections. {@code Rᵀ = B Q}, where Q is the first r columns of {@code H_1 … H_r}, times signs, {@code H_j = I - 2 v_j v_jᵀ / |v_j|²};
 * v_j is 1 at place j, 0 before, and behind it row j of {@code original}, whose diagonal says the signs and is not trained. B is
 * orthogonal and frozen. torch keeps it as [width, width], its last columns random; here it is the product of r such reflections
 * itself, and kept by their vectors: r rows in place of the whole. Where r is the width torch takes another map; here it is the same.
 *
 * <p>The sign is that of the diagonal's element. torch rounds it towards 0, and makes R's row 0 as soon as weight decay has brought the
 * element below 1.
 *
 * @param original [r, width]; trained
 * @param base the vectors of B's reflections as rows, [r, width]
 */
record OrthogonalRows(Parameter original, Tensor base) implements Rows {
    /** R; autograd follows. */
    @Override
    public Tensor matrix() {
        return of(original.value(), base);
    }

    static Tensor of(Tensor original, Tensor base) {
        TensorOptions options = Device.of(original).options(ScalarType.Float);
        Tensor columns = torch.eye(original.size(1), original.size(0), options);
        Tensor vectors = original.t().tril(-1).add(columns);
        Tensor positive = original.detach()
                .diagonal()
                .ge(new Scalar(0.0))
                .to(ScalarType.Float)
                .mul(new Scalar(2.0));
        Tensor q = reflected(vectors, columns).mul(positive.sub(new Scalar(1.0)).unsqueeze(0));
        return reflected(base.t(), q).t();
    }

    /** {@code H_1 … H_r m = m - V U⁻¹ Vᵀ m}, where U is the upper triangle of VᵀV with halves on the diagonal. */
    private static Tensor reflected(Tensor vectors, Tensor m) {
        Tensor products = vectors.t().matmul(vectors);
        Tensor half = torch.eye(products.size(0), Device.of(products).options(ScalarType.Float))
                .mul(new Scalar(0.5));
        Tensor upper = products.triu(1).add(products.mul(half));
        return m.sub(
                vectors.matmul(torch.linalg_solve_triangular(upper, vectors.t().matmul(m), true)));
    }

    /**
     * Where R begins: the rows of a matrix, made orthonormal one behind the other.
     *
     * @param base vectors of reflections, [r, width]
     * @param original [r, width], signs on its diagonal
     */
    @SuppressWarnings("ArrayRecordComponent") // never compared
    record Start(float[] base, float[] original) {}

    /**
     * The start from a matrix [r, width], by Householder's decomposition of its transpose in float64.
     *
     * @param w row by row; r is at most the width
     */
    static Start start(float[] w, int r, int width) {
        double[][] left = new double[r][width];
        for (int j = 0; j < r; j++) {
            for (int i = 0; i < width; i++) {
                left[j][i] = w[j * width + i];
            }
        }
        float[] base = new float[r * width];
        float[] original = new float[r * width];
        for (int j = 0; j < r; j++) {
            double[] v = reflection(left[j], j);
            double squares = dot(v, v);
            for (int k = j; k < r; k++) {
                double factor = 2 * dot(v, left[k]) / squares;
                for (int i = j; i < width; i++) {
                    left[k][i] -= factor * v[i];
                }
            }
            for (int i = j; i < width; i++) {
                base[j * width + i] = (float) v[i];
            }
            original[j * width + j] = left[j][j] < 0 ? 1 : -1; // with no more in it, Q's columns are minus these signs
        }
        return new Start(base, original);
    }

    /** The vector whose reflection leaves of x from place j on that one element; it is 1 there. */
    private static double[] reflection(double[] x, int j) {
        double squares = 0;
        for (int i = j; i < x.length; i++) {
            squares += x[i] * x[i];
        }
        double[] v = new double[x.length];
        v[j] = 1;
        double first = x[j] + Math.copySign(Math.sqrt(squares), x[j]);
        for (int i = j + 1; i < x.length && first != 0; i++) {
            v[i] = x[i] / first;
        }
        return v;
    }

    private static double dot(double[] a, double[] b) {
        double sum = 0;
        for (int i = 0; i < a.length; i++) {
            sum += a[i] * b[i];
        }
        return sum;
    }
}
