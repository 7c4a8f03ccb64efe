package org.peft4j.train;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.function.IntFunction;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.jspecify.annotations.Nullable;
import org.peft4j.data.Row;
import org.peft4j.metrics.Evaluation;
import org.peft4j.model.BlockRunner;
import org.peft4j.model.Head;
import org.peft4j.model.Model;
import org.peft4j.model.Tokens;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.ReadRows;
import org.peft4j.ops.Ops;
import org.peft4j.task.Batch;
import org.peft4j.task.Dataset;
import org.peft4j.task.Evaluator;
import org.peft4j.task.Example;
import org.peft4j.task.Task;

/** Forward passes without gradients. */
public final class Inference {
    private Inference() {}

    /** Evaluates a task on rows with answers, in batches of these numbers of rows. */
    public static <E extends Example> Evaluation evaluate(
            Model model, Task<E> task, Head head, @Nullable Adapter adapter, Dataset<E> data, List<int[]> batches) {
        return evaluate(model, task, head, adapter == null ? List.of() : List.of(adapter), data, batches);
    }

    /** The same with several adapters, in order, that all apply to each row. */
    public static <E extends Example> Evaluation evaluate(
            Model model, Task<E> task, Head head, List<Adapter> adapters, Dataset<E> data, List<int[]> batches) {
        Evaluator<E> evaluator = task.evaluator();
        for (int[] numbers : batches) {
            List<E> examples =
                    Arrays.stream(numbers).mapToObj(data.examples()::get).toList();
            Part<E> part = new Part<>(task, head, adapters, examples, i -> data.where(numbers[i]));
            try (PointerScope scope = new PointerScope()) {
                Bound<E> bound = part.bound();
                forward(model, List.of(bound), (ignored, h, context) -> evaluator.add(head, h, bound.batch(), context));
            }
        }
        return evaluator.evaluation();
    }

    /** Neighbouring rows of one task and its adapters. */
    public static final class Part<E extends Example> {
        private final Task<E> task;
        private final Head head;
        private final List<Adapter> adapters;
        private final List<E> examples;
        private final IntFunction<String> where;

        private Part(Task<E> task, Head head, List<Adapter> adapters, List<E> examples, IntFunction<String> where) {
            this.task = task;
            this.head = head;
            this.adapters = adapters;
            this.examples = examples;
            this.where = where;
        }

        /** Rows without answers, tokenised; {@code where} names them for messages. */
        public static <E extends Example> Part<E> of(LoadedTask<E> loaded, List<Row> rows, IntFunction<String> where) {
            List<E> examples = loaded.task().examples(rows, loaded.tokenizer());
            int vocabulary = loaded.model().model().info().vocabulary();
            for (int i = 0; i < examples.size(); i++) {
                Dataset.checkVocabulary(examples.get(i), vocabulary, where, i);
                Dataset.checkTask(examples.get(i), loaded.adapter(), where, i);
                Dataset.checkLength(examples.get(i), loaded.adapter(), where, i);
            }
            Adapter adapter = loaded.adapter();
            List<Adapter> adapters = adapter == null ? List.of() : List.of(adapter);
            return new Part<>(loaded.task(), loaded.model().head(), adapters, examples, where);
        }

        /** For each row whether it was longer than the limit. */
        public List<Boolean> cut() {
            return examples.stream().map(Example::cut).toList();
        }

        /** As a model takes it; its tensors belong to the caller's scope. */
        private Bound<E> bound() {
            return new Bound<>(this, Batch.of(examples, where));
        }
    }

    /** A part as a batch. */
    private record Bound<E extends Example>(Part<E> part, Batch<E> batch) {
        List<Map<String, @Nullable Object>> outputs(Tensor h, ForwardContext context) {
            return part.task.outputs(part.head, h, batch, context);
        }

        ReadRows.Group reads() {
            return new ReadRows.Group(
                    part.task.reads(part.head, batch), batch.packing().sequences());
        }

        int[] instructions() {
            return part.task.instructions(batch);
        }

        int[] tasks() {
            return batch.tasks();
        }

        List<Adapter> adapters() {
            return part.adapters;
        }
    }

    /**
     * What is said of each row, all parts in one pass over the blocks; results in the order of the parts.
     *
     * @throws org.peft4j.error.TrainingException if a number is not finite
     */
    public static List<Map<String, @Nullable Object>> outputs(Model model, List<Part<?>> parts) {
        List<Map<String, @Nullable Object>> all = new ArrayList<>();
        try (PointerScope scope = new PointerScope()) {
            List<Bound<?>> bound = new ArrayList<>();
            parts.forEach(part -> bound.add(part.bound()));
            forward(model, bound, (part, h, context) -> all.addAll(part.outputs(h, context)));
        }
        return all;
    }

    @FunctionalInterface
    private interface Receiver {
        void accept(Bound<?> part, Tensor h, ForwardContext context);
    }

    private static void forward(Model model, List<? extends Bound<?>> parts, Receiver receiver) {
        Ops.checked(() -> {
            try (PointerScope scope = new PointerScope();
                    NoGradGuard noGrad = new NoGradGuard();
                    ForwardContext context = context(parts)) {
                List<ReadRows.Group> groups = new ArrayList<>();
                parts.forEach(part -> groups.add(part.reads()));
                ReadRows reads = ReadRows.joined(groups);
                Tensor h = BlockRunner.plain().forward(model, tokens(parts), reads, context);
                Packing rows = reads.packing(context);
                int first = 0;
                for (Bound<?> part : parts) {
                    int last = first + part.batch().packing().sequences();
                    long begin = rows.begin(first);
                    try (ForwardContext own = context.slice(first, last)) {
                        receiver.accept(part, h.narrow(0, begin, rows.end(last - 1) - begin), own);
                    }
                    first = last;
                }
            }
            return parts;
        });
    }

    private static Tokens tokens(List<? extends Bound<?>> parts) {
        List<int[]> ids = new ArrayList<>();
        List<int @Nullable []> types = new ArrayList<>();
        for (Bound<?> part : parts) {
            ids.add(part.batch().inputs().ids());
            types.add(part.batch().inputs().types());
        }
        return Tokens.joined(ids, types);
    }

    private static ForwardContext context(List<? extends Bound<?>> parts) {
        List<Integer> lengths = new ArrayList<>();
        List<List<Adapter>> adaptersOf = new ArrayList<>();
        for (Bound<?> part : parts) {
            for (int s = 0; s < part.batch().packing().sequences(); s++) {
                lengths.add(part.batch().packing().length(s));
                adaptersOf.add(part.adapters());
            }
        }
        int[] instructions = parts.stream()
                .flatMapToInt(part -> Arrays.stream(part.instructions()))
                .toArray();
        return ForwardContext.inferenceOfSeveral(
                        Packing.of(lengths.stream().mapToInt(Integer::intValue).toArray()), adaptersOf)
                .withInstructions(instructions)
                .withTasks(parts.stream()
                        .flatMapToInt(part -> Arrays.stream(part.tasks()))
                        .toArray());
    }
}
