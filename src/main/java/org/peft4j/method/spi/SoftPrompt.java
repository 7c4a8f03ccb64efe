package org.peft4j.method.spi;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Function;
import java.util.function.Supplier;
import java.util.function.UnaryOperator;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.ConfigKeys;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.InsertedRows;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.Points;
import org.peft4j.nn.seam.SequencePoint;

/**
 * Rows in front of each text, trained themselves or made from what is trained; their files are the same: one table
 * {@code prompt_embeddings} [P, C], as Hugging Face PEFT has it.
 */
public record SoftPrompt(int count, Function<ForwardContext, Tensor> maker) implements InsertedRows {
    /** Name of the table, as a parameter and in files. */
    public static final String TABLE = "prompt_embeddings";

    /** Group of what is trained. */
    public static final String GROUP = "prompt";

    /** The keys that the configs of all such methods have. */
    public static final ConfigKeys KEYS = ConfigKeys.of(PeftKeys.LIBRARY)
            .all(PeftKeys.COMMON)
            .obeyed("num_virtual_tokens", "token_dim")
            .harmless("a size of the model; rows in front of the text need its width alone", "num_layers")
            .harmless("a size of the model; rows in front of a text need its width alone", "num_attention_heads")
            .only(
                    "num_transformer_submodules",
                    List.of(1),
                    "models of an encoder and a decoder with a prompt each are not offered")
            .build();

    @Override
    public Tensor rows(ForwardContext context) {
        return maker.apply(context);
    }

    /** Width of a row, and where rows may be inserted. */
    public static SequencePoint point(Points points) {
        return points.all(SequencePoint.class).stream()
                .findFirst()
                .orElseThrow(() -> new IllegalArgumentException(
                        "method: rows cannot be put before the texts of a model of the type " + points.modelType()));
    }

    /** Claims the front of the sequence, and modules that are saved as a whole. */
    public static void claim(Adapter.Builder builder, InsertedRows prompt, Points points, List<String> modulesToSave) {
        builder.claim(point(points), prompt);
        SavedModules.claim(builder, points, modulesToSave);
    }

    /** An adapter whose table is trained itself. */
    public static Adapter.Builder direct(
            String name, int count, Points points, List<String> modulesToSave, Supplier<Tensor> initial) {
        Parameter table = Parameter.of(TABLE, GROUP, initial);
        Adapter.Builder builder = Adapter.builder(name, points.device()).parameter(table);
        claim(builder, new SoftPrompt(count, context -> table.value()), points, modulesToSave);
        return builder;
    }

    /** The adapter of a file. */
    public static Adapter read(
            String name, int count, List<String> modulesToSave, AdapterFile file, Points points, List<String> notes)
            throws MalformedFileException {
        return read(direct(name, count, points, modulesToSave, zeros(count, points)), file, points, notes);
    }

    /** The adapter of a file whose tensors are the builder's parameters. */
    public static Adapter read(Adapter.Builder builder, AdapterFile file, Points points, List<String> notes)
            throws MalformedFileException {
        checkWidth(file, points, "token_dim");
        Map<String, TensorData> byPath = PeftTensorNames.byPath(file, PeftKeys.INPUT, points);
        SavedModules.claimWhole(builder, points, byPath.keySet(), notes);
        Adapter adapter = builder.build();
        return PeftTensors.filled(adapter, file, byPath, key(adapter), notes);
    }

    /** Rows whose values are still to come from a file. */
    public static Supplier<Tensor> zeros(int count, Points points) {
        long width = point(points).width();
        return () -> Tensors.zeros(count, width);
    }

    /** Refuses a file that says another width than the model has. */
    public static void checkWidth(AdapterFile file, Points points, String key) throws MalformedFileException {
        PeftConfigReader config = new PeftConfigReader(file);
        int width = Math.toIntExact(point(points).width());
        if (config.count(key, width) != width) {
            throw config.wrong(key, "must be " + width + " for this model", config.get(key));
        }
    }

    /** What PEFT writes for the model's sizes. */
    public static Map<String, Object> fileConfig(int count, Points points) {
        Map<String, Object> file = new LinkedHashMap<>();
        file.put("num_attention_heads", points.queryHeads());
        file.put("num_layers", points.layers());
        file.put("num_transformer_submodules", 1);
        file.put("num_virtual_tokens", count);
        file.put("token_dim", point(points).width());
        return file;
    }

    /** Every parameter by its name in files. */
    public static Map<String, TensorData> parameters(Adapter adapter) {
        return PeftTensors.of(adapter, key(adapter));
    }

    /** The table, and modules that are saved as a whole; not the network behind the table. */
    public static Map<String, TensorData> fileTensors(Adapter adapter) {
        Map<String, TensorData> tensors = new LinkedHashMap<>();
        InsertedRows prompt = (InsertedRows)
                adapter.claims(SequencePoint.class).values().iterator().next().get(0);
        try (PointerScope scope = new PointerScope();
                ForwardContext none = ForwardContext.inference(Packing.of())) {
            tensors.put(TABLE, PeftTensors.data(TABLE, prompt.rows(none).detach()));
        }
        Map<String, TensorData> all = parameters(adapter);
        adapter.replacements().keySet().forEach(path -> {
            String name = key(adapter).apply(path);
            tensors.put(name, all.get(name));
        });
        return tensors;
    }

    /** What belongs to the prompt has no prefix; what stands in place of the model's tensors has. */
    private static UnaryOperator<String> key(Adapter adapter) {
        Set<String> replaced = adapter.replacements().keySet();
        return path -> replaced.contains(path) ? PeftKeys.INPUT + path : path;
    }

    /** Why no merge. */
    public static String mergeRefusal() {
        return "rows in front of a text are read by attention: no frozen weight has that effect";
    }
}
