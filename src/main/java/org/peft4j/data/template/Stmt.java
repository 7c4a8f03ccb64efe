package org.peft4j.data.template;

import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** A statement of a template: what stands in {@code {% %}}, what is printed, and the text between. */
sealed interface Stmt {
    int line();

    /** The statements inside of a statement. */
    static List<List<Stmt>> bodies(Stmt statement) {
        List<List<Stmt>> all = new ArrayList<>();
        if (statement instanceof If ifs) {
            ifs.branches().forEach(branch -> all.add(branch.body()));
            all.add(ifs.otherwise());
        } else if (statement instanceof For loop) {
            all.add(loop.body());
            all.add(loop.otherwise());
        } else if (statement instanceof AssignBlock assign) {
            all.add(assign.body());
        } else if (statement instanceof With with) {
            all.add(with.body());
        } else if (statement instanceof MacroOf macro) {
            all.add(macro.body());
        } else if (statement instanceof CallBlock call) {
            all.add(call.body());
        } else if (statement instanceof FilterBlock filter) {
            all.add(filter.body());
        } else if (statement instanceof Generation generation) {
            all.add(generation.body());
        }
        return all;
    }

    /** The expressions that stand in a statement itself. */
    static List<Expr> expressions(Stmt statement) {
        List<Expr> all = new ArrayList<>();
        if (statement instanceof Print print) {
            all.add(print.value());
        } else if (statement instanceof If ifs) {
            ifs.branches().forEach(branch -> all.add(branch.test()));
        } else if (statement instanceof For loop) {
            all.add(loop.head().items());
            if (loop.head().test() != null) {
                all.add(loop.head().test());
            }
        } else if (statement instanceof Assign assign) {
            all.add(assign.value());
        } else if (statement instanceof AssignBlock assign && assign.filter() != null) {
            all.add(assign.filter());
        } else if (statement instanceof With with) {
            all.addAll(with.values());
        } else if (statement instanceof MacroOf macro) {
            all.addAll(macro.signature().defaults());
        } else if (statement instanceof CallBlock call) {
            all.add(call.call());
            all.addAll(call.signature().defaults());
        } else if (statement instanceof FilterBlock filter) {
            all.add(filter.filter());
        }
        return all;
    }

    /** Text as it stands. */
    record Data(String text, int line) implements Stmt {}

    /** {@code {{ value }}}. */
    record Print(Expr value, int line) implements Stmt {}

    record If(List<Branch> branches, List<Stmt> otherwise, int line) implements Stmt {}

    record Branch(Expr test, List<Stmt> body) {}

    record For(ForHead head, List<Stmt> body, List<Stmt> otherwise, int line) implements Stmt {}

    /** {@code for target in items if test recursive}. */
    record ForHead(Target target, Expr items, @Nullable Expr test, boolean recursive) {}

    record Assign(Target target, Expr value, int line) implements Stmt {}

    /** {@code {% set name | filter %}…{% endset %}}. */
    record AssignBlock(Target target, @Nullable Expr filter, List<Stmt> body, int line) implements Stmt {}

    record With(List<Target> targets, List<Expr> values, List<Stmt> body, int line) implements Stmt {}

    record MacroOf(String name, Signature signature, List<Stmt> body, int line) implements Stmt {}

    /** {@code {% call(parameters) macro(…) %}…{% endcall %}}. */
    record CallBlock(Expr.Call call, Signature signature, List<Stmt> body, int line) implements Stmt {}

    record FilterBlock(Expr filter, List<Stmt> body, int line) implements Stmt {}

    /** {@code {% generation %}…{% endgeneration %}}: what the assistant writes. */
    record Generation(List<Stmt> body, int line) implements Stmt {}

    record Break(int line) implements Stmt {}

    record Continue(int line) implements Stmt {}

    /** Parameters of a macro; the last {@code defaults.size()} of them have a default. */
    record Signature(List<String> names, List<Expr> defaults) {
        static final Signature NONE = new Signature(List.of(), List.of());

        @Nullable
        Expr defaultOf(int index) {
            int of = index - (names.size() - defaults.size());
            return of < 0 ? null : defaults.get(of);
        }
    }

    /** What a value is assigned to. */
    sealed interface Target {
        int line();
    }

    record NameTarget(String name, int line) implements Target {}

    /** {@code namespace.attribute}. */
    record AttributeTarget(String namespace, String attribute, int line) implements Target {}

    record TupleTarget(List<Target> items, int line) implements Target {}
}
