package org.peft4j.train;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.peft4j.config.TaskConfig;
import org.peft4j.error.ConfigException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.AdapterHash;
import org.peft4j.method.spi.AdapterStore;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadedModel;
import org.peft4j.nn.compose.Composed;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.LinearPoint;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.Point;
import org.peft4j.nn.seam.TensorPoint;
import org.peft4j.run.files.AdapterSettings;
import org.peft4j.task.Origin;
import org.peft4j.task.Task;
import org.peft4j.task.TaskTypes;

/**
 * Adapters that stay as they are while a run trains another one on top of them, each acting on every row before the next ({@code
 * Stack} of MAD-X, the first undermost). They act as in use: without dropout.
 *
 * @see <a href="https://arxiv.org/abs/2005.00052">MAD-X: An Adapter-Based Framework for Multi-Task Cross-Lingual Transfer</a>
 */
final class FrozenAdapters implements AutoCloseable {
    private static final String SETTING = "frozen_adapters: ";
    private static final String DROPOUT = "dropout";
    private static final String STOCHASTIC_DEPTH = "stochastic_depth";
    private static final String TRAINED = "'the one that is trained'";

    private final List<Adapter> adapters = new ArrayList<>();
    private final List<AdapterSettings.Under> files = new ArrayList<>();

    private FrozenAdapters() {}

    /**
     * Reads them.
     *
     * @param head what the run trains an output of
     * @param notes collects what a user should know
     * @throws ConfigException if one cannot stand under another adapter; nothing stays open
     */
    static FrozenAdapters load(List<Path> directories, OpenedModel base, HeadKind head, List<String> notes)
            throws IOException {
        FrozenAdapters frozen = new FrozenAdapters();
        try {
            for (Path directory : directories) {
                List<String> own = new ArrayList<>();
                frozen.add(directory, base, head, own);
                own.forEach(note -> notes.add("frozen adapter " + directory + ": " + note));
            }
            return frozen;
        } catch (IOException | RuntimeException e) {
            frozen.close();
            throw e;
        }
    }

    private void add(Path directory, OpenedModel base, HeadKind head, List<String> notes) throws IOException {
        GivenAdapter given = GivenAdapter.read(directory);
        AdapterFile file = java.util.Objects.requireNonNull(given.file());
        AdapterSettings beside = given.beside();
        if (beside != null) {
            beside.otherBase(base.hash()).ifPresent(notes::add);
        }
        Adapter adapter;
        try {
            adapter = read(directory, file, beside, base, head, notes);
        } catch (ConfigException e) {
            throw new ConfigException(SETTING + directory + ": " + e.getMessage(), e);
        }
        adapters.add(adapter);
        adapter.parameters().values().forEach(Parameter::freeze);
        files.add(new AdapterSettings.Under(directory.toString(), AdapterHash.of(file)));
        if (adapters.size() > 1 && adapter.changesEmbedded()) {
            notes.add("its invertible adapter does not act: of a stack that of the first adapter does alone");
        }
    }

    /** The adapter, on a head of its own task, which goes again. */
    private static Adapter read(
            Path directory,
            AdapterFile file,
            @Nullable AdapterSettings beside,
            OpenedModel base,
            HeadKind head,
            List<String> notes)
            throws IOException {
        TaskConfig config = LoadedTask.config(TaskNames.choose(base.directory(), file, beside, null), beside, Map.of());
        Origin origin = new Origin(
                base.model(), base.directory(), file, beside == null ? null : beside.task(), new ArrayList<>());
        Task<?> task = LoadedTask.use(TaskTypes.of(config), config, origin);
        Adapter adapter = null;
        try (HeadedModel model = HeadedModel.behind(base.model(), task.headKind(), task.headOptions())) {
            AdapterStore.Loaded loaded =
                    AdapterStore.readPart(withoutDropout(file), directory.toString(), model.points());
            adapter = loaded.adapter();
            notes.addAll(loaded.notes());
            LoadedTask.checkPlaces(model, adapter);
            InvokedTexts.check(head, adapter);
            check(adapter);
            adapter = ofBackbone(adapter, base, notes);
            return adapter;
        } catch (IOException | RuntimeException e) {
            if (adapter != null) {
                adapter.close();
            }
            throw e;
        }
    }

    private static void check(Adapter adapter) {
        if (adapter.tasks() > 0) {
            throw new ConfigException(
                    "an adapter whose rows are of tasks is not offered under another one: rows say the tasks"
                            + " of the adapter that is trained");
        }
        if (!adapter.told().isEmpty()) {
            throw new ConfigException(
                    "an adapter that learns from the labels in its prompt is not offered under another one");
        }
        if (adapter.routing() != null) {
            throw new ConfigException(
                    "an adapter that weighs its updates by what the model alone makes of a text is not"
                            + " offered under another one");
        }
    }

    /** Without what it does to its head. */
    private static Adapter ofBackbone(Adapter adapter, OpenedModel base, List<String> notes) {
        List<String> heads = new ArrayList<>();
        adapter.claims(TensorPoint.class).keySet().stream()
                .map(TensorPoint::path)
                .filter(path -> !base.model().points().tensors().containsKey(path))
                .forEach(heads::add);
        adapter.claims(LinearPoint.class).keySet().stream()
                .filter(LinearPoint::head)
                .map(LinearPoint::path)
                .forEach(heads::add);
        if (heads.isEmpty()) {
            return adapter;
        }
        Adapter rest = adapter.only(point -> !isHead(point, base));
        notes.add("what it has for its head does not act here: " + String.join(", ", heads));
        return rest;
    }

    private static boolean isHead(Point<?> point, OpenedModel base) {
        return point instanceof LinearPoint linear && linear.head()
                || point instanceof TensorPoint tensor
                        && !base.model().points().tensors().containsKey(tensor.path());
    }

    /** What is frozen is not dropped out. */
    private static AdapterFile withoutDropout(AdapterFile file) {
        Map<String, @Nullable Object> config = new LinkedHashMap<>(file.config());
        config.replaceAll((key, value) ->
                (key.contains(DROPOUT) || key.equals(STOCHASTIC_DEPTH)) && value instanceof Number ? 0.0 : value);
        return new AdapterFile(file.directory(), config, file.tensors(), file.inside());
    }

    /**
     * The stack that ends with the adapter that is trained.
     *
     * @throws ConfigException if they cannot act together
     */
    List<Adapter> under(Adapter trained) {
        if (adapters.isEmpty()) {
            return List.of(trained);
        }
        if (trained.changesEmbedded()) {
            throw new ConfigException(
                    SETTING + "of a stack the invertible adapter of the first one acts alone: that of the"
                            + " adapter which is trained would learn nothing; leave inv_adapter out, or train without"
                            + " frozen_adapters");
        }
        List<Adapter> all = new ArrayList<>(adapters);
        all.add(trained);
        List<Adapter> stack = Adapter.stack(all);
        try {
            new ForwardContext.Segment(0, 0, stack);
        } catch (ConfigException e) {
            throw new ConfigException(SETTING + String.valueOf(e.getMessage()).replace("'default'", TRAINED), e);
        }
        return stack;
    }

    /**
     * Refuses what a Stack of a composition, in which the adapter is used later, would not take, or would make something else of.
     *
     * @param head paths of layers and tensors that stand behind the blocks
     */
    void checkUse(Adapter trained, Set<String> head) {
        if (adapters.isEmpty()) {
            return;
        }
        List<Adapter> all = new ArrayList<>(adapters);
        all.add(trained);
        try {
            List<Adapter> parts = all.stream()
                    .map(adapter -> Composed.part(adapter.name(), adapter, head))
                    .toList();
            Composed.stack(SETTING.strip().replace(":", ""), parts);
            for (Adapter below : parts.subList(0, parts.size() - 1)) {
                for (Adapter above : parts.subList(parts.indexOf(below) + 1, parts.size())) {
                    checkLinears(below, above);
                }
            }
        } catch (ConfigException e) {
            throw new ConfigException(SETTING + String.valueOf(e.getMessage()).replace("'default'", TRAINED), e);
        }
    }

    private static void checkLinears(Adapter below, Adapter above) {
        below.claims(LinearPoint.class).keySet().stream()
                .filter(point -> !above.at(point).isEmpty())
                .findFirst()
                .ifPresent(point -> {
                    throw new ConfigException("'" + below.name() + "' and '" + above.name() + "' both act on "
                            + point.path()
                            + ", and in a Stack the second reads what the first adds there; merge the first"
                            + " into the model (peft4j merge), and train on that");
                });
    }

    /**
     * For a method that looks at the rows of texts before it begins.
     *
     * @throws ConfigException if one adds rows to them
     */
    void checkRowsOfTexts() {
        for (Adapter adapter : adapters) {
            if (adapter.inserted() > 0 || adapter.prefix() > 0) {
                throw new ConfigException(
                        SETTING + "'" + adapter.name() + "' puts rows before each text, and a start from"
                                + " data (method.init) is not offered on top of that; choose another init");
            }
        }
    }

    /** Which they are. */
    List<AdapterSettings.Under> files() {
        return List.copyOf(files);
    }

    @Override
    public void close() {
        adapters.forEach(Adapter::close);
    }
}
