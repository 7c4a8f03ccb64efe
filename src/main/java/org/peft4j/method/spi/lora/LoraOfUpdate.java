package org.peft4j.method.spi.lora;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.peft4j.error.ConfigException;
import org.peft4j.method.Targets;
import org.peft4j.method.lora.Bias;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.method.spi.SavedModules;
import org.peft4j.method.spi.TruncatedSvd;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.ExpertsPoint;
import org.peft4j.nn.seam.LinearPoint;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.Point;
import org.peft4j.nn.seam.Points;

/**
 * Plain LoRA that changes a model as another adapter does: of each changed weight the largest singular values of what was added
 * to it, changed biases and modules that are replaced as they are.
 *
 * @param adapter the LoRA adapter; the caller closes it
 * @param config its settings
 * @param errors by layer: {@code ‖ΔW − s B A‖ / ‖ΔW‖} (Frobenius)
 * @param error the same of all layers together
 */
public record LoraOfUpdate(Adapter adapter, LoraConfig config, Map<String, Double> errors, double error) {
    /** Singular values below this part of the largest one are rounding. */
    private static final double ROUNDING = 1e-6;

    private static final String WEIGHT = ".weight";
    private static final String BIAS = ".bias";

    /** A and B of one layer. */
    private record Factors(Point<?> point, float[] a, float[] b, int rank) {
        String path() {
            return point.path();
        }
    }

    /**
     * Makes it.
     *
     * @param merged the tensors that the other adapter changes, with their new values, by path
     * @param rank at most this for each layer; 0: as many as the update has, but for rounding
     * @param modulesToSave the other adapter's
     * @throws ConfigException if something is changed that LoRA cannot change
     */
    public static LoraOfUpdate of(Map<String, Tensor> merged, Points points, int rank, List<String> modulesToSave) {
        Map<String, Double> errors = new LinkedHashMap<>();
        List<Factors> layers = new ArrayList<>();
        Set<String> inSaved = SavedModules.of(points, modulesToSave).keySet();
        List<String> saved = new ArrayList<>(modulesToSave);
        Map<String, Tensor> whole = new LinkedHashMap<>(merged);
        double lost = 0;
        double all = 0;
        for (LinearPoint point : points.linears()) {
            String path = point.path() + WEIGHT;
            if (!merged.containsKey(path) || inSaved.contains(path)) {
                continue;
            }
            whole.remove(path);
            try (PointerScope scope = new PointerScope()) {
                Tensor delta = merged.get(path)
                        .sub(Tensors.onCpu(points.tensors().get(path).value(), ScalarType.Float));
                TruncatedSvd svd = TruncatedSvd.exact(delta, Math.min(point.in(), point.out()));
                float[] values = Tensors.toFloats(svd.s());
                int kept = kept(values, rank);
                double own = squares(values, kept);
                double total = squares(values, 0);
                errors.put(point.path(), total == 0 ? 0 : Math.sqrt(own / total));
                lost += own;
                all += total;
                if (kept > 0) {
                    layers.add(factors(point, svd, kept));
                }
            }
        }
        for (ExpertsPoint point : points.all(ExpertsPoint.class)) {
            try (PointerScope scope = new PointerScope()) {
                Tensor delta = LoraOfExperts.change(point, merged, points);
                if (delta == null) {
                    continue;
                }
                whole.keySet().removeAll(LoraOfExperts.paths(point));
                ExpertFactors experts = ExpertFactors.of(point, delta, rank);
                errors.put(point.path(), experts.all() == 0 ? 0 : Math.sqrt(experts.lost() / experts.all()));
                lost += experts.lost();
                all += experts.all();
                if (experts.rank() > 0) {
                    layers.add(new Factors(point, experts.a(), experts.b(), experts.rank()));
                }
            }
        }
        if (layers.isEmpty()) {
            throw new ConfigException(
                    "the adapter changes the weight of no linear layer: there is nothing that LoRA could do");
        }
        boolean biases = layers.stream().anyMatch(layer -> whole.containsKey(layer.path() + BIAS));
        Set<String> adapted = new LinkedHashSet<>();
        layers.forEach(layer -> adapted.add(layer.path() + BIAS));
        for (String path : whole.keySet()) {
            boolean ownBias = biases && adapted.contains(path);
            String module = path.substring(0, path.lastIndexOf('.'));
            if (!ownBias && !inSaved.contains(path) && !saved.contains(module)) {
                saved.add(module);
            }
        }
        LoraConfig config = config(layers, biases, saved);
        Adapter adapter = new LoraMethod().attach("converted", config, points, 0);
        fill(adapter, layers, whole);
        return new LoraOfUpdate(adapter, config, errors, all == 0 ? 0 : Math.sqrt(lost / all));
    }

    static int kept(float[] values, int rank) {
        int real = 0;
        while (real < values.length && values[real] > ROUNDING * values[0]) {
            real++;
        }
        return rank == 0 ? real : Math.min(rank, real);
    }

    static double squares(float[] values, int from) {
        double sum = 0;
        for (int i = from; i < values.length; i++) {
            sum += (double) values[i] * values[i];
        }
        return sum;
    }

    /** The scale is 1: both get the root of each singular value. */
    private static Factors factors(LinearPoint point, TruncatedSvd svd, int rank) {
        Tensor root = svd.s().narrow(0, 0, rank).sqrt();
        return new Factors(
                point,
                Tensors.toFloats(svd.vt().narrow(0, 0, rank).mul(root.unsqueeze(1))),
                Tensors.toFloats(svd.u().narrow(1, 0, rank).mul(root.unsqueeze(0))),
                rank);
    }

    private static LoraConfig config(List<Factors> layers, boolean biases, List<String> saved) {
        Map<String, Integer> ranks = new LinkedHashMap<>();
        layers.forEach(layer -> ranks.put(layer.path(), layer.rank()));
        List<String> modules = layers.stream()
                .filter(layer -> layer.point() instanceof LinearPoint)
                .map(Factors::path)
                .toList();
        return LoraFiles.ofRanks(ranks)
                .targets(modules.isEmpty() ? Targets.none() : Targets.names(modules))
                .targetParameters(layers.stream()
                        .map(Factors::path)
                        .filter(path -> !modules.contains(path))
                        .toList())
                .bias(biases ? Bias.LORA_ONLY : Bias.NONE)
                .modulesToSave(saved)
                .build();
    }

    private static void fill(Adapter adapter, List<Factors> layers, Map<String, Tensor> whole) {
        for (Factors layer : layers) {
            adapter.parameters().get(layer.path() + LoraSite.LINEAR_A).set(layer.a());
            adapter.parameters().get(layer.path() + LoraSite.LINEAR_B).set(layer.b());
        }
        whole.forEach((path, value) -> {
            Parameter own = adapter.parameters().get(path);
            if (own == null) {
                throw new ConfigException("the adapter changes " + path + ", which LoRA cannot change");
            }
            own.set(Tensors.toFloats(value));
        });
    }
}
