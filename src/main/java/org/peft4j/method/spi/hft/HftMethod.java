package org.peft4j.method.spi.hft;

import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.ConfigKeys;
import org.peft4j.method.hft.HftConfig;
import org.peft4j.method.spi.PeftConfigReader;
import org.peft4j.method.spi.ReplacingMethod;
import org.peft4j.method.spi.WholeTensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.Points;

/**
 * HFT (Hui et al. 2024): parameters in the place of the model's tensors, of which {@link Rounds} trains a half at a time. Hugging Face PEFT
 * has no such method; files are ours, named as PEFT would name the tensors.
 */
public final class HftMethod extends ReplacingMethod<HftConfig> {
    private static final ConfigKeys KEYS = ConfigKeys.of("peft4j")
            .all(WholeTensors.KEYS)
            .obeyed("round_steps", "round", "seed")
            .build();

    @Override
    public String name() {
        return "hft";
    }

    @Override
    public String peftType() {
        return "HFT";
    }

    @Override
    public boolean isPefts() {
        return false;
    }

    @Override
    public HftConfig defaults() {
        return HftConfig.defaults();
    }

    @Override
    public Map<String, String> renamedSettings() {
        return WholeTensors.RENAMED;
    }

    @Override
    public Adapter attach(String name, HftConfig config, Points points, long seed) {
        return build(name, config, new WholeTensors(config.chosen(), points), points)
                .build();
    }

    private static Adapter.Builder build(String name, HftConfig config, WholeTensors tensors, Points points) {
        Halves halves = new Halves(tensors.paths().toList(), config.modulesToSave(), points, config.seed());
        Adapter.Builder builder = tensors.claim(name, config.modulesToSave());
        return builder.hook(new Rounds(config, halves, builder.parameters()));
    }

    @Override
    public ConfigKeys keys() {
        return KEYS;
    }

    @Override
    public HftConfig readConfig(AdapterFile file) throws MalformedFileException {
        PeftConfigReader config = new PeftConfigReader(file);
        try {
            return new HftConfig(
                    WholeTensors.read(config),
                    config.get("round_steps") == null ? null : config.count("round_steps", 0),
                    config.count("round", 0),
                    config.whole("seed", 0),
                    config.texts("modules_to_save"));
        } catch (IllegalArgumentException e) {
            throw config.wrong(e);
        }
    }

    /** The run says how long rounds are and what draws depend on; which round comes next the adapter knows. */
    @Override
    public HftConfig goingOn(HftConfig file, HftConfig wanted, List<String> notes) {
        return file.withRoundSteps(wanted.roundSteps())
                .withSeed(wanted.seed())
                .withRound(wanted.round() == 0 ? file.round() : wanted.round());
    }

    @Override
    public HftConfig found(HftConfig config, Adapter adapter) {
        return adapter.hooks().stream()
                .filter(Rounds.class::isInstance)
                .map(hook -> config.withRound(((Rounds) hook).next()))
                .findFirst()
                .orElseThrow();
    }

    @Override
    public HftConfig respelled(HftConfig config, Points points, UnaryOperator<String> from, UnaryOperator<String> to) {
        return config.withChosen(WholeTensors.respelled(config.chosen(), points, from, to));
    }

    @Override
    protected Adapter.Builder claim(
            String name, HftConfig config, Points points, Collection<String> paths, List<String> notes) {
        return build(name, config, new WholeTensors(config.chosen(), points).of(paths, notes), points);
    }

    @Override
    public Map<String, Object> fileConfig(HftConfig config, Points points) {
        Map<String, @Nullable Object> file = new LinkedHashMap<>();
        WholeTensors.put(config.chosen(), points, file);
        file.put("round", config.round());
        file.put("round_steps", config.roundSteps());
        file.put("seed", config.seed());
        return file;
    }

    @Override
    public long parameterCount(HftConfig config, Points points) {
        WholeTensors tensors = new WholeTensors(config.chosen(), points);
        new Halves(tensors.paths().toList(), config.modulesToSave(), points, config.seed()); // says what cannot be
        return tensors.elements(config.modulesToSave());
    }

    @Override
    public String summary() {
        return "the model itself, in each round another half of its modules";
    }

    @Override
    public String settings(HftConfig config) {
        return "all of the model, half of it at a time";
    }
}
