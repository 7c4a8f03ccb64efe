package org.peft4j.bench;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.peft4j.config.RunConfig;
import org.peft4j.method.MethodConfig;
import org.peft4j.run.RunConfigFile;

/**
 * Settings that rows try in turn where their own do not fit a model (sizes that have to divide its widths), or have to be said (tokens
 * of an example). As run files say them; a row without an entry has none, and is left out where its own do not fit.
 */
final class FittingSettings {
    private static final List<Integer> TOKENS = IntStream.range(10, 30).boxed().toList();
    private static final List<Integer> TYPES =
            IntStream.range(0, 20).map(token -> 1 + token / 5).boxed().toList();

    private static final Map<String, List<Map<String, Object>>> OF_ROWS = Map.ofEntries(
            Map.entry("vblora", sizes("vector_length", 128, 64, 32, 16)),
            Map.entry("c3a", sizes("block_size", 128, 64, 32, 16)),
            Map.entry("road", sizes("group_size", 32, 16, 8)),
            Map.entry("shira", sizes("r", 16, 8, 4)),
            Map.entry("miss", sizes("r", 32, 16, 8)),
            Map.entry("oft", sizes("oft_block_size", 16, 8)),
            Map.entry("adapter_plus", sizes("reduction_factor", 16, 8)),
            Map.entry("list", sizes("r", 64, 32, 16, 8)),
            Map.entry("compacter", sizes("reduction_factor", 16, 8)),
            Map.entry("compacter++", sizes("reduction_factor", 16, 8)),
            Map.entry("ln-tuning", List.of(Map.of("targets", List.of("LayerNorm")))),
            Map.entry("trainable-tokens", List.of(Map.of("tokens", TOKENS))),
            Map.entry("cpt", List.of(Map.of("prompt_tokens", TOKENS, "token_types", TYPES))));

    private FittingSettings() {}

    private static List<Map<String, Object>> sizes(String setting, Integer... sizes) {
        return Stream.of(sizes)
                .map(size -> Map.<String, Object>of(setting, size))
                .toList();
    }

    static List<Map<String, Object>> of(String row) {
        return OF_ROWS.getOrDefault(row, List.of());
    }

    /** Settings of a method with some of them changed. */
    static MethodConfig changed(RunConfig reference, MethodConfig config, Map<String, Object> changed) {
        Map<String, Object> method = new LinkedHashMap<>(RunConfigFile.methodMap(config));
        method.putAll(changed);
        Map<String, Object> run = new LinkedHashMap<>(RunConfigFile.toMap(reference));
        run.put("method", method);
        return RunConfigFile.of(run, "bench methods", List.of()).chosenMethod();
    }
}
