package org.peft4j.method.spi;

import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;
import java.util.function.UnaryOperator;
import org.bytedeco.pytorch.Tensor;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.ConfigKeys;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.MethodConfig;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.LowRankPair;
import org.peft4j.nn.seam.Points;

/**
 * An adapter method: claims points of a model and gives an {@link Adapter}; knows its files. Stateless.
 *
 * @param <C> its settings
 */
public interface Method<C extends MethodConfig> {
    /** The {@code type} of a run's {@code method}: {@code prefix-tuning}. */
    String name();

    /** The {@code peft_type} of adapter files: {@code PREFIX_TUNING}. */
    String peftType();

    /** Whether Hugging Face PEFT has the method, so that it reads and writes the same files. */
    default boolean isPefts() {
        return true;
    }

    /** Its settings where nothing is said. */
    C defaults();

    @SuppressWarnings("unchecked") // settings are records, which have no subclasses
    default Class<C> configType() {
        return (Class<C>) defaults().getClass();
    }

    /** Settings that others, PEFT above all, call otherwise: their name → ours. Run files refuse them with ours. */
    default Map<String, String> renamedSettings() {
        return Map.of();
    }

    /** Settings that others know by a name: in run files {@code config: NAME} chooses them, and what is said beside it changes them. */
    default Map<String, C> namedSettings() {
        return Map.of();
    }

    /**
     * Settings whose texts are told in tokens, as {@link #attach} wants them: as they are if they have no text.
     *
     * @param encode the tokens of a text, special ones included
     * @throws IllegalArgumentException if a text does not do
     */
    default C inTokens(C config, Function<String, List<Integer>> encode) {
        return config;
    }

    /**
     * Settings whose texts stand within rows, told in tokens: as they are if they have no such text.
     *
     * @param encode the tokens of a text, no special ones among them
     * @throws IllegalArgumentException if a text does not do
     */
    default C withinTokens(C config, Function<String, List<Integer>> encode) {
        return config;
    }

    /**
     * A fresh adapter. Modules of {@code config.modulesToSave()} begin with the model's values.
     *
     * @param seed of the first values; each depends on (seed, path) alone
     * @throws IllegalArgumentException if a target matches nothing of the model
     */
    Adapter attach(String name, C config, Points points, long seed);

    /**
     * Where the settings want first values that are made of data: the way to them, in place of {@link #attach}, which refuses such
     * settings. The caller closes it.
     *
     * @param seed as in {@link #attach}
     * @throws IllegalArgumentException as {@link #attach} does
     */
    default Optional<Calibration<C>> calibration(C config, Points points, long seed) {
        return Optional.empty();
    }

    /** Whether PEFT's config of this method has {@code modules_to_save}; where it has not, the key is only written if needed. */
    default boolean peftSavesModules() {
        return true;
    }

    /**
     * The settings of a run that goes on from an adapter: the adapter's, but for what a run may choose anew.
     *
     * @param file the adapter's
     * @param wanted the run's
     * @param notes collects what a user should know
     * @throws IllegalArgumentException if the adapter cannot do what the run chooses
     */
    default C goingOn(C file, C wanted, List<String> notes) {
        return file;
    }

    /**
     * A and B of each linear layer, for an optimiser that lets A stay and trains B by it (LoRA-FA).
     *
     * @param config that the adapter was made with
     * @throws IllegalArgumentException if not all that the method trains beside whole modules and biases are such pairs; the message
     *     begins with the setting, as a run file spells it
     */
    default List<LowRankPair> lowRankPairs(C config, Adapter adapter) {
        throw new IllegalArgumentException("method.type must be lora, got " + name());
    }

    /** What each key of the method's {@code adapter_config.json} means. */
    ConfigKeys keys();

    /** The settings of an adapter file, whose keys were judged by {@link #keys}. */
    C readConfig(AdapterFile file) throws MalformedFileException;

    /**
     * Settings whose words are about other paths of the same modules: as they are if they mean the same, else module by module. A
     * layer is {@code bert.encoder.layer.0} in a model with a head, and {@code encoder.layer.0} where the backbone is alone.
     *
     * @param from the path that the words are about, of each of the points'
     * @param to the path that they shall be about
     */
    default C respelled(C config, Points points, UnaryOperator<String> from, UnaryOperator<String> to) {
        return config; // no setting has a path
    }

    /**
     * The adapter of a file. It is judged by the tensors in it: a target that matches nothing here is noted, a tensor that
     * finds no place is an error.
     *
     * @param notes collects what a user should know
     */
    Adapter read(String name, C config, AdapterFile file, Points points, List<String> notes)
            throws MalformedFileException;

    /**
     * The settings that the files of an adapter have: with what its training found, such as ranks.
     *
     * @param config that the adapter was made with
     */
    default C found(C config, Adapter adapter) {
        return config;
    }

    /**
     * {@code adapter_config.json}, without what {@link AdapterStore} adds for all methods.
     *
     * @param config about paths as the file spells them
     */
    Map<String, Object> fileConfig(C config, Points points);

    /** {@code adapter_model.safetensors}, by the names that Hugging Face PEFT gives. */
    Map<String, TensorData> fileTensors(C config, Adapter adapter);

    /** The adapters that this one is made of, as they are now; their files are in folders 0, 1, … of its directory. */
    default List<AdapterStore.Loaded> inside(Adapter adapter) {
        return List.of();
    }

    /** Why no adapter of this method can be merged into the frozen weights; empty if one can, with some settings at least. */
    Optional<String> mergeRefusal();

    /** The same for one with these settings. */
    default Optional<String> mergeRefusal(C config) {
        return mergeRefusal();
    }

    /**
     * The frozen tensors that a merge changes, with their new values in float32, by path.
     *
     * @throws IllegalStateException if it cannot be merged, or a value is not finite
     */
    default Map<String, Tensor> merged(Adapter adapter, Points points) {
        throw new IllegalStateException(
                name() + " cannot be merged: " + mergeRefusal().orElseThrow());
    }

    /** Number of elements that {@link #attach} would train, without making them. */
    long parameterCount(C config, Points points);

    /** One line for the overview of methods: what is trained. */
    String summary();

    /** For which settings {@link #parameterCount} was asked, in a few words. */
    String settings(C config);
}
