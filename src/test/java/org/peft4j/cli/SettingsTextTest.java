package org.peft4j.cli;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.dataformat.yaml.YAMLMapper;
import java.io.IOException;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

class SettingsTextTest {
    @Test
    void everyTextReadsBackAsItself() throws IOException {
        List<String> texts = List.of(
                "plain",
                "two words",
                "runs/spam-lora",
                "/tmp/a b",
                "yes",
                "null",
                "~",
                "12",
                "1e3",
                "0x10",
                "a: b",
                "a #b",
                "",
                " x",
                "x ",
                "-",
                "- a",
                "[a]",
                "{",
                "*a",
                "&a",
                "!t",
                "%a",
                "@a",
                "`a",
                "\"q\"",
                "it's",
                "line\nbreak",
                "größe",
                ".*\\.query",
                "?",
                "a,b",
                "2026-01-01",
                ".5",
                "no",
                "On",
                "1_000",
                "a:",
                "|",
                ">");
        Map<String, Object> settings = new LinkedHashMap<>();
        settings.put("list", texts);
        for (int i = 0; i < texts.size(); i++) {
            settings.put("key" + i, texts.get(i));
        }
        texts.stream().filter(text -> !text.isBlank()).forEach(text -> settings.put(text, Map.of("nested", text)));

        assertThat(new YAMLMapper()
                        .readValue(SettingsText.of(settings, ""), new TypeReference<Map<String, Object>>() {}))
                .isEqualTo(settings);
    }

    @Test
    void mapsAreIndentedAndListsStandOnOneLine() {
        Map<String, Object> settings = new LinkedHashMap<>();
        settings.put("model", new LinkedHashMap<>(Map.of("path", "m")));
        settings.put("labels", List.of("ham", "spam"));
        settings.put("groups", Map.of());

        assertThat(SettingsText.of(settings, "")).isEqualTo("model:\n  path: m\nlabels: [ham, spam]\ngroups: {}\n");
    }
}
