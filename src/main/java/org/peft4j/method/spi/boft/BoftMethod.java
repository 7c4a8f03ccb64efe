package org.peft4j.method.spi.boft;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.ConfigKeys;
import org.peft4j.method.boft.BoftBlocks;
import org.peft4j.method.boft.BoftConfig;
import org.peft4j.method.spi.AdaptedLayers;
import org.peft4j.method.spi.LinearKeys;
import org.peft4j.method.spi.LinearMethod;
import org.peft4j.method.spi.PeftConfigReader;
import org.peft4j.method.spi.PeftKeys;
import org.peft4j.method.spi.Rotations;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.InputUpdate;
import org.peft4j.nn.seam.LinearPoint;
import org.peft4j.nn.seam.Magnitude;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.ops.Device;

/** BOFT (Liu et al. 2023; Hugging Face PEFT): {@code y = s ∘ (W (x R)) + b}, R is a product of rotations of blocks. */
public final class BoftMethod extends LinearMethod<BoftConfig> {
    private static final String R = "boft_R";
    private static final String S = "boft_s";
    private static final long MOST = 64; // features of rotations that are made one

    private static final ConfigKeys KEYS = ConfigKeys.of(PeftKeys.LIBRARY)
            .all(LinearKeys.COMMON)
            .obeyed(LinearKeys.EXCLUDED)
            .obeyed(LinearKeys.NUMBERS)
            .obeyed("boft_block_size", "boft_block_num", "boft_n_butterfly_factor")
            .obeyed("fan_in_fan_out") // the model knows; a note says if it does not fit
            .only("bias", List.of("none"), "biases would be trained, too")
            .unset("blocks would be left unturned at random while training", "boft_dropout")
            .harmless("how R and s began, which the file's tensors replace", "init_weights")
            .build();

    @Override
    public String name() {
        return "boft";
    }

    @Override
    public String peftType() {
        return "BOFT";
    }

    @Override
    public BoftConfig defaults() {
        return BoftConfig.defaults();
    }

    @Override
    public Map<String, String> renamedSettings() {
        return Map.of("target_modules", "targets", "boft_n_butterfly_factor", "n_butterfly_factor");
    }

    @Override
    protected List<String> suffixes() {
        return List.of(R, S);
    }

    @Override
    protected void adapt(BoftConfig config, AdaptedLayers layers) {
        for (AdaptedLayers.Layer layer : layers.all()) {
            long factors = factors(config, layers, layer);
            long n = layer.in();
            long b = config.blocks().size(n, factors);
            Parameter r = layer.trained(R, (seed, path) -> Tensors.zeros(factors, n / b, b, b));
            Parameter s = layer.trained(
                    S, (seed, path) -> torch.ones(new long[] {layer.out(), 1}, Device.CPU.options(ScalarType.Float)));
            List<Swap> own = new ArrayList<>(); // of the first rotation features keep their places
            for (int factor = 1; factor < factors; factor++) {
                int number = factor;
                String sizes = n + "." + b + "." + factor;
                own.add(new Swap(
                        layers.shared("boft_places." + sizes, () -> Butterfly.places(n, b, number), n),
                        layers.shared("boft_back." + sizes, () -> Butterfly.back(n, b, number), n)));
            }
            layer.claim(new Rotation(r, own));
            layer.claim(new Scale(s));
        }
    }

    /** PEFT takes one rotation where it cannot compile its kernel, whatever its config says; the tensor's shape is true. */
    private static long factors(BoftConfig config, AdaptedLayers layers, AdaptedLayers.Layer layer) {
        long[] shape = layers.shapeInFile(layer.path(R));
        return shape == null || shape.length == 0 || shape[0] < 1 || shape[0] > 30
                ? config.blocks().nButterflyFactor()
                : shape[0];
    }

    /** Where features stand while a rotation turns them, and the way back. */
    private record Swap(Tensor places, Tensor back) {}

    private record Rotation(Parameter r, List<Swap> swaps) implements InputUpdate {
        private static final long WIDE = 32; // blocks that are worth a product

        /** One rotation behind the other stays in blocks of so many features. */
        private long group() {
            return r.shape()[2] << swaps.size();
        }

        @Override
        public Tensor of(Tensor x) {
            boolean one = x.size(0) > MOST && group() <= MOST;
            return one ? Rotations.times(x, blocks(x.size(1))) : chain(x, rotations());
        }

        private Tensor rotations() {
            Tensor values = r.value();
            long b = values.size(2);
            Tensor flat = values.view(-1, b, b);
            return Rotations.cayley(flat.sub(flat.transpose(1, 2)).mul(new Scalar(0.5)));
        }

        private Tensor blocks(long in) {
            Tensor all = rotations();
            return wide(swaps.isEmpty() ? all : joined(all, in));
        }

        @Override
        public Tensor merged(Tensor w) {
            if (group() > MOST) {
                return InputUpdate.super.merged(w);
            }
            return Rotations.times(w, blocks(w.size(1)).transpose(1, 2));
        }

        @Override
        public boolean prefersMatrix(long in, long out) {
            return group() <= MOST && Rotations.prefersMatrix(out);
        }

        private Tensor chain(Tensor x, Tensor all) {
            long blocks = r.shape()[1];
            Tensor y = x;
            for (int factor = swaps.size(); factor > 0; factor--) { // the last one reads x
                Swap swap = swaps.get(factor - 1);
                Tensor there = y.index_select(1, swap.back());
                y = Rotations.times(there, all.narrow(0, factor * blocks, blocks))
                        .index_select(1, swap.places());
            }
            return Rotations.times(y, all.narrow(0, 0, blocks));
        }

        /** All rotations as one, [in / group, group, group]: what they make of a unit matrix in each group's place. */
        private Tensor joined(Tensor all, long in) {
            long g = group();
            Tensor units = one(all, g).repeat(1, in / g);
            return chain(units, all).view(g, in / g, g).transpose(0, 1);
        }

        /** Small blocks as the diagonals of larger ones: products of some width cost no more than those of none. */
        private static Tensor wide(Tensor blocks) {
            long n = blocks.size(0);
            long b = blocks.size(1);
            long k = Math.max(1, WIDE / b);
            while (n % k != 0) {
                k--;
            }
            return k == 1
                    ? blocks
                    : blocks.reshape(n / k, k, b, 1, b)
                            .mul(one(blocks, k).view(1, k, 1, k, 1))
                            .reshape(n / k, k * b, k * b);
        }

        private static Tensor one(Tensor like, long n) {
            return torch.eye(n, Device.of(like).options(like.scalar_type()));
        }
    }

    private record Scale(Parameter s) implements Magnitude {
        @Override
        public Tensor factors() {
            return s.value().view(-1);
        }
    }

    @Override
    protected long elements(BoftConfig config, List<LinearPoint> layers) {
        long factors = config.blocks().nButterflyFactor();
        return layers.stream()
                .mapToLong(layer -> factors * layer.in() * config.blocks().size(layer.in(), factors) + layer.out())
                .sum();
    }

    @Override
    public ConfigKeys keys() {
        return KEYS;
    }

    @Override
    public BoftConfig readConfig(AdapterFile file) throws MalformedFileException {
        PeftConfigReader config = new PeftConfigReader(file);
        try {
            return new BoftConfig(
                    new BoftBlocks(
                            config.count("boft_block_size", 4),
                            config.count("boft_block_num", 0),
                            config.count("boft_n_butterfly_factor", 1)),
                    LinearKeys.layers(config),
                    config.texts("modules_to_save"));
        } catch (IllegalArgumentException e) {
            throw config.wrong(e);
        }
    }

    @Override
    protected Map<String, Object> fileConfig(BoftConfig config) {
        Map<String, Object> file = new LinkedHashMap<>();
        file.put("bias", "none");
        file.put("boft_block_num", config.blocks().boftBlockNum());
        file.put("boft_block_size", config.blocks().boftBlockSize());
        file.put("boft_dropout", 0.0);
        file.put("boft_n_butterfly_factor", config.blocks().nButterflyFactor());
        file.put("fan_in_fan_out", false);
        file.put("init_weights", true);
        return file;
    }

    @Override
    public String summary() {
        return "rotations R of blocks, as a butterfly, and factors s: y = s ∘ (W (x R)) + b";
    }

    @Override
    public String settings(BoftConfig config) {
        BoftBlocks blocks = config.blocks();
        return (blocks.boftBlockNum() > 0 ? blocks.boftBlockNum() + " blocks" : "blocks of " + blocks.boftBlockSize())
                + ", " + blocks.nButterflyFactor() + " factor"
                + (blocks.nButterflyFactor() > 1 ? "s" : "") + ", the model's usual targets";
    }
}
