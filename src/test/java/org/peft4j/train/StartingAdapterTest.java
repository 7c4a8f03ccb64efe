package org.peft4j.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.peft4j.config.DataConfig;
import org.peft4j.config.RunConfig;
import org.peft4j.error.ConfigException;
import org.peft4j.method.lora.InitLora;
import org.peft4j.method.lora.LoraConfig;

class StartingAdapterTest {
    private static final LoraConfig ADAPTER = LoraConfig.builder()
            .r(4)
            .init(InitLora.GAUSSIAN)
            .modulesToSave(List.of("classifier", "pooler"))
            .build();

    private static List<String> differences(LoraConfig wanted, LoraConfig adapter) {
        RunConfig run = RunConfig.builder()
                .model(Path.of("model"))
                .data(new DataConfig(Path.of("rows.jsonl"), null))
                .method(wanted)
                .adapter(Path.of("start"))
                .output(Path.of("out"))
                .build();
        return StartingAdapter.differences(run, adapter);
    }

    @Test
    void whatWasLeftAtItsDefaultIsTheAdaptersWithANote() {
        assertThat(differences(LoraConfig.defaults(), ADAPTER))
                .containsExactly(
                        "the adapter has r: 4; method.r (8) does not apply to a run that goes on from an adapter");
    }

    @Test
    void whatTheAdapterHasMayBeAskedFor() {
        LoraConfig wanted = ADAPTER.toBuilder().modulesToSave(List.of("pooler")).build();
        assertThat(differences(wanted, ADAPTER)).isEmpty();
    }

    @Test
    void whatTheAdapterHasNotIsRefused() {
        LoraConfig plain =
                LoraConfig.builder().modulesToSave(List.of("classifier")).build();
        assertThatThrownBy(() -> differences(plain.toBuilder().r(16).build(), plain))
                .isInstanceOf(ConfigException.class)
                .hasMessageStartingWith("method.r is 16, but the adapter start has r: 8");
        assertThatThrownBy(() -> differences(
                        plain.toBuilder().modulesToSave(List.of("pooler")).build(), plain))
                .hasMessageStartingWith("method.modules_to_save is [pooler], but the adapter start has modules_to_save:"
                        + " [classifier]");
        assertThatThrownBy(() ->
                        differences(plain.toBuilder().init(InitLora.GAUSSIAN).build(), plain))
                .hasMessageStartingWith("method.init is gaussian, but the adapter start has init: kaiming");
    }
}
