package org.peft4j.data.template;

import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/** Renders a template once. */
final class Interpreter {
    /** How a statement ends. */
    private enum Flow {
        ON,
        BREAK,
        CONTINUE
    }

    /**
     * A {@code generation} block as transformers notes it: where the text ended that was written before it, and its own text.
     */
    record Generated(int begin, String text, int line) {}

    private final Scopes scopes;
    private final Map<String, @Nullable Object> given;
    private final Budget budget;
    private final Expressions expressions;
    private final StringBuilder root = new StringBuilder();
    private final List<Generated> generated = new ArrayList<>();
    private StringBuilder out = root;

    /**
     * @param given all names that the template may read, functions included
     */
    Interpreter(Scopes scopes, Map<String, @Nullable Object> given, Budget budget) {
        this.scopes = scopes;
        this.given = given;
        this.budget = budget;
        this.expressions = new Expressions(budget);
    }

    String render(List<Stmt> template) {
        all(template, new Frame(scopes.root(), null, given));
        return root.toString();
    }

    List<Generated> generated() {
        return generated;
    }

    private Flow all(List<Stmt> statements, Frame frame) {
        for (Stmt statement : statements) {
            Flow flow = one(statement, frame);
            if (flow != Flow.ON) {
                return flow;
            }
        }
        return Flow.ON;
    }

    private Flow one(Stmt statement, Frame frame) {
        budget.step();
        budget.enter();
        try {
            Flow flow = run(statement, frame);
            budget.leave();
            return flow;
        } catch (TemplateError e) {
            throw e.at(statement.line());
        }
    }

    private Flow run(Stmt statement, Frame frame) {
        if (statement instanceof Stmt.Data data) {
            write(data.text());
        } else if (statement instanceof Stmt.Print print) {
            write(Texts.of(expressions.value(print.value(), frame), budget));
        } else if (statement instanceof Stmt.If ifs) {
            return branch(ifs, frame);
        } else if (statement instanceof Stmt.For loop) {
            return loop(loop, frame);
        } else if (statement instanceof Stmt.Assign assign) {
            assign(assign.target(), expressions.value(assign.value(), frame), frame);
        } else if (statement instanceof Stmt.AssignBlock assign) {
            return assign(assign, frame);
        } else if (statement instanceof Stmt.With with) {
            return with(with, frame);
        } else if (statement instanceof Stmt.MacroOf macro) {
            frame.set(macro.name(), macro(statement, macro.name(), macro.signature(), macro.body(), frame));
        } else if (statement instanceof Stmt.CallBlock block) {
            Macro caller = macro(statement, "caller", block.signature(), block.body(), frame);
            write(Texts.of(expressions.call(block.call(), frame, caller), budget));
        } else if (statement instanceof Stmt.FilterBlock block) {
            return filter(block, frame);
        } else if (statement instanceof Stmt.Generation generation) {
            generation(generation, frame);
        } else {
            return statement instanceof Stmt.Break ? Flow.BREAK : Flow.CONTINUE;
        }
        return Flow.ON;
    }

    private void write(String text) {
        TextMethods.append(out, "", text, budget);
    }

    private Flow branch(Stmt.If ifs, Frame frame) {
        for (Stmt.Branch branch : ifs.branches()) {
            if (expressions.isTrue(branch.test(), frame)) {
                return all(branch.body(), frame);
            }
        }
        return all(ifs.otherwise(), frame);
    }

    private Flow loop(Stmt.For loop, Frame frame) {
        Object items = expressions.value(loop.head().items(), frame);
        if (loop.head().recursive()) {
            write(recursive(loop, items, frame, 0));
            return Flow.ON;
        }
        return loop(loop, items, frame, 0, null);
    }

    /** The text of a recursive loop: what {@code loop(items)} gives inside of it. */
    private String recursive(Stmt.For loop, @Nullable Object items, Frame frame, int depth) {
        budget.enterCall();
        String text = captured(() -> loop(
                        loop,
                        items,
                        frame,
                        depth,
                        arguments -> recursive(loop, arguments.bind("iterable").get("iterable"), frame, depth + 1)))
                .text();
        budget.leaveCall();
        return text;
    }

    private Flow loop(
            Stmt.For loop, @Nullable Object from, Frame frame, int depth, Callable.@Nullable Function recurse) {
        Iterator<@Nullable Object> items = Sequences.iterate(from, budget);
        Integer length = Sequences.lengthOrNull(from);
        Stmt.Target target = loop.head().target();
        Expr test = loop.head().test();
        if (test != null) {
            Frame testing = new Frame(scopes.of(loop, Scopes.Role.TEST), frame, given);
            items = PickingFilters.picked(
                            items,
                            item -> {
                                assign(target, item, testing);
                                return expressions.isTrue(test, testing);
                            },
                            budget)
                    .items();
            length = null;
        }
        Loop state = new Loop(items, length, depth, recurse, budget);
        Scope scope = scopes.of(loop, Scopes.Role.BODY);
        boolean otherwise = true;
        while (state.hasNext()) {
            budget.step();
            Frame body = new Frame(scope, frame, given);
            body.set("loop", state);
            assign(target, state.next(), body);
            Flow flow = all(loop.body(), body);
            if (flow == Flow.BREAK) {
                break;
            }
            otherwise &= flow != Flow.ON; // jinja2 goes to else also where no round came to its end
        }
        return otherwise ? all(loop.otherwise(), new Frame(scopes.of(loop, Scopes.Role.ELSE), frame, given)) : Flow.ON;
    }

    private void assign(Stmt.Target target, @Nullable Object value, Frame frame) {
        if (target instanceof Stmt.NameTarget name) {
            frame.set(name.name(), value);
        } else if (target instanceof Stmt.AttributeTarget attribute) {
            if (!(frame.get(attribute.namespace()) instanceof Namespace namespace)) {
                throw TemplateError.fault("'" + attribute.namespace() + "." + attribute.attribute()
                                + "' can only be set where '" + attribute.namespace() + "' is a namespace(…)")
                        .at(target.line());
            }
            namespace.set(attribute.attribute(), value);
        } else if (target instanceof Stmt.TupleTarget tuple) {
            List<@Nullable Object> values = Sequences.list(value, budget);
            if (values.size() != tuple.items().size()) {
                throw TemplateError.fault(
                                "there are " + tuple.items().size() + " names for " + values.size() + " values")
                        .at(target.line());
            }
            for (int i = 0; i < values.size(); i++) {
                assign(tuple.items().get(i), values.get(i), frame);
            }
        }
    }

    private Flow assign(Stmt.AssignBlock assign, Frame frame) {
        Frame inner = new Frame(scopes.of(assign, Scopes.Role.BODY), frame, given);
        Captured body = captured(assign.body(), inner);
        if (body.flow() == Flow.ON) {
            Object value = assign.filter() instanceof Expr.Filter filter
                    ? expressions.filter(filter, body.text(), inner)
                    : body.text();
            assign(assign.target(), value, frame);
        }
        return body.flow();
    }

    private Flow with(Stmt.With with, Frame frame) {
        Frame inner = new Frame(scopes.of(with, Scopes.Role.BODY), frame, given);
        for (int i = 0; i < with.targets().size(); i++) {
            assign(with.targets().get(i), expressions.value(with.values().get(i), frame), inner);
        }
        return all(with.body(), inner);
    }

    private Flow filter(Stmt.FilterBlock block, Frame frame) {
        Frame inner = new Frame(scopes.of(block, Scopes.Role.BODY), frame, given);
        Captured body = captured(block.body(), inner);
        if (body.flow() == Flow.ON) {
            write(Texts.of(expressions.filter((Expr.Filter) block.filter(), body.text(), inner), budget));
        }
        return body.flow();
    }

    private void generation(Stmt.Generation generation, Frame frame) {
        String text = captured(generation.body(), new Frame(scopes.of(generation, Scopes.Role.BODY), frame, given))
                .text();
        generated.add(new Generated(root.length(), text, generation.line()));
        write(text);
    }

    /** What a body writes, and how it ended. */
    private record Captured(String text, Flow flow) {}

    private Captured captured(List<Stmt> body, Frame frame) {
        return captured(() -> all(body, frame));
    }

    private Captured captured(Supplier<Flow> writing) {
        StringBuilder outer = out;
        out = new StringBuilder();
        Flow flow = writing.get();
        String text = out.toString();
        out = outer;
        return new Captured(text, flow);
    }

    private Macro macro(Stmt statement, String name, Stmt.Signature signature, List<Stmt> body, Frame frame) {
        Scope scope = scopes.of(statement, Scopes.Role.BODY);
        return new Macro(name, signature.names(), scopes.special(statement), values -> {
            budget.enterCall();
            Frame inner = new Frame(scope, frame, given);
            values.forEach(inner::set);
            for (int i = 0; i < signature.names().size(); i++) {
                String parameter = signature.names().get(i);
                if (values.get(parameter) == Frame.MISSING) {
                    Expr otherwise = signature.defaultOf(i);
                    inner.set(
                            parameter,
                            otherwise != null
                                    ? expressions.value(otherwise, inner)
                                    : new Undefined("parameter '" + parameter + "' was not given"));
                }
            }
            String text = captured(body, inner).text();
            budget.leaveCall();
            return text;
        });
    }
}
