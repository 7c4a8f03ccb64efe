package org.peft4j.method.spi.oft;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.bytedeco.pytorch.Tensor;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.ConfigKeys;
import org.peft4j.method.oft.Cayley;
import org.peft4j.method.oft.OftBlocks;
import org.peft4j.method.oft.OftConfig;
import org.peft4j.method.spi.AdaptedLayers;
import org.peft4j.method.spi.LinearKeys;
import org.peft4j.method.spi.LinearMethod;
import org.peft4j.method.spi.PeftConfigReader;
import org.peft4j.method.spi.PeftKeys;
import org.peft4j.method.spi.Rotations;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.InputUpdate;
import org.peft4j.nn.seam.LinearPoint;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.ops.Device;

/** OFT (Qiu et al. 2023; Hugging Face PEFT): {@code y = W (x R) + b}, R turns blocks of features. */
public final class OftMethod extends LinearMethod<OftConfig> {
    private static final String R = "oft_R.weight";

    private static final ConfigKeys KEYS = ConfigKeys.of(PeftKeys.LIBRARY)
            .all(LinearKeys.COMMON)
            .obeyed(LinearKeys.EXCLUDED)
            .obeyed(LinearKeys.NUMBERS)
            .obeyed("r", "oft_block_size", "block_share", "use_cayley_neumann", "num_cayley_neumann_terms")
            .obeyed("fan_in_fan_out") // the model knows; a note says if it does not fit
            .only("bias", List.of("none"), "biases would be trained, too")
            .unset("blocks would be left unturned at random while training", "module_dropout")
            .unset("each forward would change the trained values: angles are cut off in place", "coft")
            .harmless("how far coft lets blocks turn, which is off", "eps")
            .harmless("how the angles began, which the file's tensors replace", "init_weights")
            .build();

    @Override
    public String name() {
        return "oft";
    }

    @Override
    public String peftType() {
        return "OFT";
    }

    @Override
    public OftConfig defaults() {
        return OftConfig.defaults();
    }

    @Override
    protected List<String> suffixes() {
        return List.of(R);
    }

    @Override
    protected void adapt(OftConfig config, AdaptedLayers layers) {
        for (AdaptedLayers.Layer layer : layers.all()) {
            long b = config.blocks().size(layer.in());
            Tensor places = layers.shared("oft_upper." + b, () -> upper(b), angles(b));
            Parameter angles = layer.trained(R, (seed, path) -> Tensors.zeros(rows(config, layer.in()), angles(b)));
            layer.claim(new Rotation(angles, places, b, config.cayley()));
        }
    }

    private static long angles(long block) {
        return block * (block - 1) / 2;
    }

    private static long rows(OftConfig config, long in) {
        return config.blocks().blockShare() ? 1 : in / config.blocks().size(in);
    }

    /** Where the elements above the diagonal of a matrix [b, b] are in it, row by row. */
    private static Tensor upper(long b) {
        long[] places = new long[Math.toIntExact(angles(b))];
        int next = 0;
        for (long row = 0; row < b; row++) {
            for (long column = row + 1; column < b; column++) {
                places[next++] = row * b + column;
            }
        }
        return Tensors.ofLongs(places, places.length);
    }

    /** @param angles elements above the diagonals of the skew-symmetric matrices */
    private record Rotation(Parameter angles, Tensor upper, long block, Cayley cayley) implements InputUpdate {
        private Tensor blocks() {
            Tensor elements = angles.value();
            long n = elements.size(0);
            Tensor above = Tensors.zeros(Device.of(elements), n, block * block)
                    .index_copy(1, upper, elements)
                    .view(n, block, block);
            Tensor skew = above.sub(above.transpose(1, 2));
            return cayley.useCayleyNeumann()
                    ? Rotations.neumann(skew, cayley.numCayleyNeumannTerms())
                    : Rotations.cayley(skew);
        }

        @Override
        public Tensor of(Tensor x) {
            return Rotations.times(x, blocks());
        }

        @Override
        public boolean prefersMatrix(long in, long out) {
            return Rotations.prefersMatrix(out);
        }

        @Override
        public Tensor merged(Tensor w) {
            return Rotations.times(w, blocks().transpose(1, 2));
        }
    }

    @Override
    protected long elements(OftConfig config, List<LinearPoint> layers) {
        return layers.stream()
                .mapToLong(layer ->
                        rows(config, layer.in()) * angles(config.blocks().size(layer.in())))
                .sum();
    }

    @Override
    public ConfigKeys keys() {
        return KEYS;
    }

    @Override
    public OftConfig readConfig(AdapterFile file) throws MalformedFileException {
        PeftConfigReader config = new PeftConfigReader(file);
        OftVersions.check(config);
        try {
            return new OftConfig(
                    new OftBlocks(config.count("r", 0), config.count("oft_block_size", 32), config.flag("block_share")),
                    new Cayley(config.flag("use_cayley_neumann", true), config.count("num_cayley_neumann_terms", 5)),
                    LinearKeys.layers(config),
                    config.texts("modules_to_save"));
        } catch (IllegalArgumentException e) {
            throw config.wrong(e);
        }
    }

    @Override
    protected Map<String, Object> fileConfig(OftConfig config) {
        Map<String, Object> file = new LinkedHashMap<>();
        file.put("bias", "none");
        file.put("block_share", config.blocks().blockShare());
        file.put("coft", false);
        file.put("eps", 6e-5);
        file.put("fan_in_fan_out", false);
        file.put("init_weights", true);
        file.put("module_dropout", 0.0);
        file.put("num_cayley_neumann_terms", config.cayley().numCayleyNeumannTerms());
        file.put("oft_block_size", config.blocks().oftBlockSize());
        file.put(OftVersions.KEY, OftVersions.WRITTEN);
        file.put("r", config.blocks().r());
        file.put("use_cayley_neumann", config.cayley().useCayleyNeumann());
        return file;
    }

    @Override
    public String summary() {
        return "rotations R of blocks of what a layer reads: y = W (x R) + b";
    }

    @Override
    public String settings(OftConfig config) {
        OftBlocks blocks = config.blocks();
        return (blocks.r() > 0 ? blocks.r() + " blocks" : "blocks of " + blocks.oftBlockSize())
                + ", the model's usual targets";
    }
}
