package org.peft4j.method;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.DoubleUnaryOperator;
import org.jspecify.annotations.Nullable;
import org.peft4j.model.HeadedModel;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;

/** UniPELT within the tiny BERT and the tiny Llama, one text, as the papers write it down; a Llama's rows may come call by call. */
final class UniPeltInDouble {
    private static final int C = 32;
    private static final int HEADS = 4;
    private static final int D = 8;
    private static final int PREFIX = 3;

    private final Map<String, double[]> values = new LinkedHashMap<>();
    private final boolean adapted;
    private final int layers;
    private final List<List<double[]>> keys = new ArrayList<>(); // of each layer, of all calls
    private final List<List<double[]>> vs = new ArrayList<>();

    UniPeltInDouble(HeadedModel model, @Nullable Adapter adapter) {
        model.points().tensors().forEach((path, point) -> values.put(path, doubles(Tensors.toFloats(point.value()))));
        adapted = adapter != null;
        if (adapter != null) {
            adapter.parameters().forEach((path, own) -> values.put(path, doubles(Tensors.toFloats(own.value()))));
        }
        layers = model.points().layers();
        for (int i = 0; i < layers; i++) {
            keys.add(new ArrayList<>());
            vs.add(new ArrayList<>());
        }
    }

    private static double[] doubles(float[] floats) {
        double[] made = new double[floats.length];
        for (int i = 0; i < made.length; i++) {
            made[i] = floats[i];
        }
        return made;
    }

    /** What the blocks make of embedded rows. */
    double[][] bert(double[][] embedded) {
        double[][] h = embedded;
        for (int layer = 0; layer < layers; layer++) {
            String path = "bert.encoder.layer." + layer + ".";
            String self = path + "attention.self.";
            double[][] q = withLora(self + "query", h);
            List<double[]> k = new ArrayList<>(List.of(linear(self + "key", h)));
            List<double[]> v = new ArrayList<>(List.of(withLora(self + "value", h)));
            double[][] o = attention(q, k, v, prefix(layer, path + "attention.self", h, HEADS), HEADS, -1);
            String normA = path + "attention.output.LayerNorm";
            double[][] a = layerNorm(normA, plus(linear(path + "attention.output.dense", o), h));
            double[][] up = each(linear(path + "intermediate.dense", a), x -> 0.5 * x * (1 + erf(x / Math.sqrt(2))));
            double[][] m = linear(path + "output.dense", up);
            double[][] sum = plus(m, a);
            String norm = path + "output.LayerNorm";
            double[][] u = adapted ? bottleneck(path + "output", layerNorm(norm, sum)) : new double[h.length][C];
            h = layerNorm(norm, plus(u, sum));
        }
        return h;
    }

    /** Logits of a call's rows, which come behind those of the calls before it. */
    double[][] llama(int... tokens) {
        double[][] h = new double[tokens.length][];
        for (int i = 0; i < h.length; i++) {
            h[i] = java.util.Arrays.copyOfRange(
                    values.get("model.embed_tokens.weight"), tokens[i] * C, (tokens[i] + 1) * C);
        }
        for (int layer = 0; layer < layers; layer++) {
            String path = "model.layers." + layer + ".";
            String self = path + "self_attn.";
            double[][] x = rmsNorm(path + "input_layernorm", h);
            int before = keys.get(layer).size();
            int first = (adapted ? PREFIX : 0) + before;
            double[][] q = turned(withLora(self + "q_proj", x), first);
            keys.get(layer).addAll(List.of(turned(linear(self + "k_proj", x), first)));
            vs.get(layer).addAll(List.of(withLora(self + "v_proj", x)));
            double[][] o =
                    attention(q, keys.get(layer), vs.get(layer), prefix(layer, path + "self_attn", x, 2), 2, before);
            double[][] a = plus(linear(self + "o_proj", o), h);
            double[][] z = rmsNorm(path + "post_attention_layernorm", a);
            double[][] gate = each(linear(path + "mlp.gate_proj", z), y -> y / (1 + Math.exp(-y)));
            double[][] up = linear(path + "mlp.up_proj", z);
            for (int t = 0; t < up.length; t++) {
                for (int i = 0; i < up[t].length; i++) {
                    up[t][i] *= gate[t][i];
                }
            }
            double[][] sum = plus(linear(path + "mlp.down_proj", up), a);
            h = adapted ? plus(bottleneck(path + "mlp.down_proj", sum), sum) : sum;
        }
        return linear("lm_head", rmsNorm("model.norm", h));
    }

    /** Means over the rows of σ(w x + b). */
    private double[] gates(String path, double[][] x) {
        double[][] each = each(linear(path, x), y -> 1 / (1 + Math.exp(-y)));
        double[] means = new double[each[0].length];
        for (double[] row : each) {
            for (int i = 0; i < means.length; i++) {
                means[i] += row[i] / each.length;
            }
        }
        return means;
    }

    private double[][] withLora(String path, double[][] x) {
        double[][] y = linear(path, x);
        if (!adapted) {
            return y;
        }
        double[][] more = linear(path + ".lora_B", linear(path + ".lora_A", x));
        return plus(y, times(more, gates(path + ".lora_gate", x)[0]));
    }

    private double[][] bottleneck(String path, double[][] r) {
        double[][] inner = each(linear(path + ".adapter_down", r), y -> Math.max(0, y));
        return times(linear(path + ".adapter_up", inner), gates(path + ".adapter_gate", r)[0]);
    }

    /** Keys and values of a layer's prefix; null without an adapter. */
    private double[] @Nullable [][] prefix(int layer, String path, double[][] x, int heads) {
        if (!adapted) {
            return null;
        }
        String encoder = "base_model.prompt_encoder.";
        double[] embedding = values.get(encoder + "embedding.weight");
        double[][] rows = new double[PREFIX][];
        for (int p = 0; p < PREFIX; p++) {
            rows[p] = java.util.Arrays.copyOfRange(embedding, p * C, (p + 1) * C);
        }
        double[][] table = linear(encoder + "transform.2", each(linear(encoder + "transform.0", rows), Math::tanh));
        double[] gates = gates(path + ".prefix_gate", x);
        int width = heads * D;
        double[][][] made = new double[2][PREFIX][width];
        for (int kind = 0; kind < 2; kind++) {
            for (int p = 0; p < PREFIX; p++) {
                for (int i = 0; i < width; i++) {
                    made[kind][p][i] = table[p][(2 * layer + kind) * width + i] * gates[kind % gates.length];
                }
            }
        }
        return made;
    }

    /** @param before rows of earlier calls, where a row sees those up to itself; -1: it sees all */
    private static double[][] attention(
            double[][] q,
            List<double[]> k,
            List<double[]> v,
            double[] @Nullable [][] prefix,
            int keyHeads,
            int before) {
        double[][] o = new double[q.length][C];
        for (int t = 0; t < q.length; t++) {
            List<double[]> seenKeys = new ArrayList<>();
            List<double[]> seenValues = new ArrayList<>();
            if (prefix != null) {
                seenKeys.addAll(List.of(prefix[0]));
                seenValues.addAll(List.of(prefix[1]));
            }
            int end = before < 0 ? k.size() : before + t + 1;
            seenKeys.addAll(k.subList(0, end));
            seenValues.addAll(v.subList(0, end));
            for (int head = 0; head < HEADS; head++) {
                int own = head / (HEADS / keyHeads) * D;
                double[] weights = new double[seenKeys.size()];
                double sum = 0;
                for (int j = 0; j < weights.length; j++) {
                    double score = 0;
                    for (int d = 0; d < D; d++) {
                        score += q[t][head * D + d] * seenKeys.get(j)[own + d];
                    }
                    weights[j] = Math.exp(score / Math.sqrt(D));
                    sum += weights[j];
                }
                for (int j = 0; j < weights.length; j++) {
                    for (int d = 0; d < D; d++) {
                        o[t][head * D + d] += weights[j] / sum * seenValues.get(j)[own + d];
                    }
                }
            }
        }
        return o;
    }

    /** By the rotary embedding, halves of a head being pairs. */
    private static double[][] turned(double[][] rows, int first) {
        double[][] made = new double[rows.length][];
        for (int t = 0; t < rows.length; t++) {
            double[] x = rows[t];
            double[] y = new double[x.length];
            for (int begin = 0; begin < x.length; begin += D) {
                for (int i = 0; i < D / 2; i++) {
                    double angle = (first + t) * Math.pow(10000, -2.0 * i / D);
                    double a = x[begin + i];
                    double b = x[begin + i + D / 2];
                    y[begin + i] = a * Math.cos(angle) - b * Math.sin(angle);
                    y[begin + i + D / 2] = b * Math.cos(angle) + a * Math.sin(angle);
                }
            }
            made[t] = y;
        }
        return made;
    }

    private double[][] linear(String path, double[][] x) {
        double[] w = values.get(path + ".weight");
        double[] b = values.get(path + ".bias");
        int in = x[0].length;
        double[][] y = new double[x.length][w.length / in];
        for (int t = 0; t < x.length; t++) {
            for (int o = 0; o < y[t].length; o++) {
                y[t][o] = b == null ? 0 : b[o];
                for (int i = 0; i < in; i++) {
                    y[t][o] += w[o * in + i] * x[t][i];
                }
            }
        }
        return y;
    }

    private double[][] layerNorm(String path, double[][] x) {
        double[][] y = new double[x.length][C];
        for (int t = 0; t < x.length; t++) {
            double mean = 0;
            double variance = 0;
            for (double value : x[t]) {
                mean += value / C;
            }
            for (double value : x[t]) {
                variance += (value - mean) * (value - mean) / C;
            }
            for (int i = 0; i < C; i++) {
                y[t][i] = (x[t][i] - mean) / Math.sqrt(variance + 1e-12) * values.get(path + ".weight")[i]
                        + values.get(path + ".bias")[i];
            }
        }
        return y;
    }

    private double[][] rmsNorm(String path, double[][] x) {
        double[][] y = new double[x.length][C];
        for (int t = 0; t < x.length; t++) {
            double squares = 0;
            for (double value : x[t]) {
                squares += value * value / C;
            }
            for (int i = 0; i < C; i++) {
                y[t][i] = x[t][i] / Math.sqrt(squares + 1e-5) * values.get(path + ".weight")[i];
            }
        }
        return y;
    }

    private static double[][] plus(double[][] a, double[][] b) {
        double[][] sum = new double[a.length][a[0].length];
        for (int t = 0; t < a.length; t++) {
            for (int i = 0; i < a[t].length; i++) {
                sum[t][i] = a[t][i] + b[t][i];
            }
        }
        return sum;
    }

    private static double[][] times(double[][] x, double factor) {
        return each(x, y -> factor * y);
    }

    private static double[][] each(double[][] x, DoubleUnaryOperator f) {
        double[][] y = new double[x.length][];
        for (int t = 0; t < x.length; t++) {
            y[t] = java.util.Arrays.stream(x[t]).map(f).toArray();
        }
        return y;
    }

    /** By its series for small x; far out it is ±1. */
    private static double erf(double x) {
        if (Math.abs(x) > 5) {
            return Math.signum(x);
        }
        double term = x;
        double sum = x;
        for (int n = 1; n < 200; n++) {
            term *= -x * x / n;
            sum += term / (2 * n + 1);
        }
        return 2 / Math.sqrt(Math.PI) * sum;
    }
}
