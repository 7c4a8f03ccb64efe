package org.peft4j.task.language;

import java.io.IOException;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import org.peft4j.config.CausalLmConfig;
import org.peft4j.data.RowReader;
import org.peft4j.data.TextTokenizer;
import org.peft4j.model.HeadKind;
import org.peft4j.task.Dataset;
import org.peft4j.task.Origin;
import org.peft4j.task.TaskType;

/** Language modelling of texts, or of responses to prompts. */
public final class CausalLmType implements TaskType<CausalLmConfig> {
    static final String PEFT_NAME = "CAUSAL_LM";

    @Override
    public String name() {
        return CausalLmConfig.TYPE;
    }

    @Override
    public String peftName() {
        return PEFT_NAME;
    }

    @Override
    public Optional<String> architectureSuffix() {
        return Optional.of("ForCausalLM");
    }

    @Override
    public Class<CausalLmConfig> configType() {
        return CausalLmConfig.class;
    }

    @Override
    public CausalLmConfig defaults() {
        return CausalLmConfig.defaults();
    }

    @Override
    public Prepared<?> prepare(
            CausalLmConfig config, Origin origin, Rows train, @Nullable Rows validation, TextTokenizer tokenizer)
            throws IOException {
        CausalLm task = use(config, origin);
        Dataset<LanguageExample> rows;
        try (RowReader reader = train.open(List.of())) {
            rows = task.trained(reader, tokenizer, origin.notes());
        }
        if (validation == null) {
            return new Prepared<>(task, rows, null);
        }
        try (RowReader reader = validation.open(List.of())) {
            return new Prepared<>(task, rows, task.read(reader, tokenizer));
        }
    }

    @Override
    public CausalLm use(CausalLmConfig config, Origin origin) {
        origin.layout(HeadKind.LANGUAGE); // refuses models that are none
        return new CausalLm(config);
    }
}
