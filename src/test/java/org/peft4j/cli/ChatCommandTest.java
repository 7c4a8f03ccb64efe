package org.peft4j.cli;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.peft4j.BaseModel;
import org.peft4j.Chat;
import org.peft4j.Fixtures;
import org.peft4j.LoadedAdapter;
import org.peft4j.TextGenerator;

/** Talks through standard input. */
class ChatCommandTest {
    @TempDir
    static Path shared;

    @TempDir
    Path temporary;

    private static Path model;
    private static Path lora;
    private static Path ia3;

    @BeforeAll
    static void model() throws IOException {
        model = Fixtures.copyTinyLlama(shared.resolve("chatty"));
        Cli.write(
                model.resolve("chat_template.jinja"),
                "{{ bos_token }}{% for m in messages %}{% if m.content == 'no' %}{{ raise_exception('Not this') }}"
                        + "{% endif %}{{ m.role }} {{ m.content }}{{ eos_token }}{% endfor %}"
                        + "{% if add_generation_prompt %}assistant{% endif %}");
        lora = Fixtures.TINY_LLAMA.resolve("lora");
        ia3 = Fixtures.TINY_LLAMA.resolve("ia3");
    }

    private static Cli.Result talk(List<String> lines, Object... more) {
        List<Object> call = new ArrayList<>(List.of("chat", "--model", model, "--max-new-tokens", 4));
        call.addAll(List.of(more));
        Cli.Result result = Cli.piped(String.join("\n", lines), call.toArray());
        assertThat(result.status()).as(result.err()).isZero();
        return result;
    }

    @Test
    void adaptersChangeAndTheTalkIsSavedAsTrainingTakesIt() throws IOException {
        Path saved = temporary.resolve("talk.jsonl");
        List<String> said = new ArrayList<>();
        List<Map<String, String>> messages;
        TextGenerator.Options few = TextGenerator.Options.defaults().withMaxNewTokens(4);
        LoadedAdapter.Options language = LoadedAdapter.Options.defaults().withTask("causal-lm");
        try (BaseModel base = BaseModel.open(model)) {
            LoadedAdapter first = base.load("first", lora, language);
            LoadedAdapter second = base.load("ia3", ia3, language);
            Chat chat = Chat.of(first).withSystem("mail");
            said.add(chat.say("the list", few, piece -> {}).text());
            chat.use(second);
            said.add(chat.say("you", few, piece -> {}).text());
            chat.undo();
            chat.use(base.plain(language));
            said.add(chat.say("you", few, piece -> {}).text());
            messages = chat.messages();
            chat.use(first);
            chat.reset();
            said.add(chat.withSystem(null).say("the list", few, piece -> {}).text());
        }

        Cli.Result result = talk(
                List.of(
                        "the list",
                        "",
                        "/adapter ia3",
                        "you",
                        "/undo",
                        "/adapter none",
                        "/adapter",
                        " you",
                        "/save " + saved,
                        "/adapter first",
                        "/reset",
                        "/system",
                        "the list",
                        "/exit",
                        "never said"),
                "--adapter",
                "first=" + lora,
                "--adapter",
                ia3,
                "--system",
                "mail");

        StringBuilder expected = new StringBuilder();
        said.forEach(one -> expected.append(one.stripLeading()).append("\n"));
        assertThat(result.out()).isEqualTo(expected.toString());
        assertThat(result.err())
                .contains("  first\n  ia3\n* none\n", "adapter 'ia3' answers", "saved 5 messages to " + saved)
                .contains("note: the answer was cut after 4 tokens (--max-new-tokens");
        List<JsonNode> rows = new ArrayList<>();
        for (String line : Files.readAllLines(saved)) {
            rows.add(TaskRuns.JSON.readTree(line));
        }
        assertThat(rows).hasSize(1);
        assertThat(rows.get(0).get("messages")).isEqualTo(TaskRuns.JSON.valueToTree(messages));
        assertThat(Cli.run("show", "--model", model, "--data", saved).status()).isZero();
    }

    /** Nothing that is wrong ends the talk, or stays in it. */
    @Test
    void whatIsWrongIsToldAndTheTalkGoesOn() {
        Cli.Result alone = talk(List.of("the list"), "--max-length", 30);
        Cli.Result result = talk(
                List.of(
                        "/save " + temporary.resolve("early.jsonl"),
                        "no",
                        "the list of mail ".repeat(9),
                        "/undo",
                        "/sytem mail",
                        "/adapter bob",
                        "/save",
                        "/help",
                        "the list",
                        "/save " + temporary.resolve("nowhere/talk.jsonl")),
                "--max-length",
                30);

        assertThat(result.out()).isEqualTo(alone.out());
        assertThat(result.err().lines().filter(line -> line.startsWith("peft4j: ")))
                .satisfiesExactly(
                        early -> assertThat(early).contains("nothing was said yet"),
                        refused -> assertThat(refused).contains("the template refuses these messages: Not this"),
                        tooLong -> assertThat(tooLong).contains("at most 30 tokens (max_length)"),
                        unknown -> assertThat(unknown).contains("no command '/sytem'; did you mean 'system'?"),
                        nobody -> assertThat(nobody).contains("no adapter 'bob'"),
                        file -> assertThat(file).contains("/save needs a file"),
                        nowhere -> assertThat(nowhere).contains("there is no directory"));
        assertThat(result.err()).contains("there is no turn to take back", "/system TEXT");
        assertThat(Cli.run("chat", "--model", model, "--adapter", "none=" + lora)
                        .err())
                .contains("'none' is the model without an adapter");
    }

    @Test
    void whatCannotBeATalkIsRefusedBeforeTheWeightsAreRead() throws IOException {
        Path base = Files.createDirectory(temporary.resolve("base"));
        for (String name : List.of("config.json", "tokenizer.json", "tokenizer_config.json")) {
            Files.copy(Fixtures.TINY_LLAMA.resolve(name), base.resolve(name));
        }
        Cli.write(base.resolve("model.safetensors"), "\u0002" + "\0".repeat(7) + "{}"); // no tensor in it
        refused("has no chat template", "--model", base);
        refused("two adapters are called 'lora'", "--model", model, "--adapter", lora, "--adapter", lora);
        refused("no such", "--model", model, "--adapter", "anna=" + temporary.resolve("nowhere"));
        refused("--n 2 is not for a talk", "--model", model, "--n", 2, "--temperature", 1);
        refused("--log-probs is not for a talk", "--model", model, "--log-probs");
        refused("there is no file nowhere.jinja", "--model", base, "--template", "nowhere.jinja");
    }

    /** {@code yes | peft4j chat | head -1} ends. */
    @Test
    void aTalkThatNobodyReadsEnds() {
        OutputStream closed = new OutputStream() {
            @Override
            public void write(int b) throws IOException {
                throw new IOException("gone");
            }
        };
        PrintStream gone = new PrintStream(closed, true, StandardCharsets.UTF_8);
        ByteArrayOutputStream err = new ByteArrayOutputStream();
        PrintStream told = new PrintStream(err, true, StandardCharsets.UTF_8);
        InputStream former = System.in;
        System.setIn(new ByteArrayInputStream("the list\nyou\n".getBytes(StandardCharsets.UTF_8)));
        int status;
        try {
            status = Main.run(
                    new Main(gone, told, StandardCharsets.UTF_8, false),
                    "chat",
                    "--model",
                    model.toString(),
                    "--max-new-tokens",
                    "1");
        } finally {
            System.setIn(former);
        }
        assertThat(status).isEqualTo(1);
        assertThat(err.toString(StandardCharsets.UTF_8)).endsWith("peft4j: " + RowsOutput.NOT_WRITTEN + "\n");
    }

    private static void refused(String message, Object... more) {
        List<Object> call = new ArrayList<>(List.of("chat"));
        call.addAll(List.of(more));
        Cli.Result result = Cli.piped("the list\n", call.toArray());
        assertThat(result.status()).as(result.err()).isEqualTo(2);
        assertThat(result.out()).isEmpty();
        assertThat(result.err()).startsWith("peft4j: ").contains(message).hasLineCount(1);
    }
}
