package org.peft4j.data.template;

import java.util.HashMap;
import java.util.HashSet;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * The scopes of a template, found once before it is rendered. Filters and tests that nobody knows are refused here too,
 * except where jinja2 waits until they are used: inside of an {@code if}.
 */
final class Scopes {
    /** Which scope of a node. */
    enum Role {
        BODY,
        ELSE,
        TEST
    }

    /** Evaluating is recursive; long chains of operators count as nesting, too. */
    private static final int MAX_DEPTH = 300;

    private static final List<String> OF_MACROS = List.of("caller", "kwargs", "varargs");

    private final IdentityHashMap<Stmt, Map<Role, Scope>> scopes = new IdentityHashMap<>();
    private final IdentityHashMap<Stmt, Set<String>> special = new IdentityHashMap<>();
    private final Scope root = new Scope(null);
    private int depth;
    private int loops;

    private Scopes() {}

    static Scopes of(List<Stmt> template) {
        Scopes scopes = new Scopes();
        template.forEach(statement -> scopes.visit(statement, scopes.root));
        scopes.inside(template, scopes.root, false);
        return scopes;
    }

    Scope root() {
        return root;
    }

    Scope of(Stmt statement, Role role) {
        Scope scope = scopes.get(statement).get(role);
        if (scope == null) {
            throw new AssertionError("no scope " + role + " at line " + statement.line());
        }
        return scope;
    }

    /** Which of {@code caller}, {@code kwargs}, {@code varargs} a macro reads. */
    Set<String> special(Stmt macro) {
        return special.getOrDefault(macro, Set.of());
    }

    // what a statement says about the names of the scope in which it stands

    private void visit(Stmt statement, Scope scope) {
        if (statement instanceof Stmt.Print print) {
            names(print.value(), scope);
        } else if (statement instanceof Stmt.If ifs) {
            branches(ifs, 0, scope);
        } else if (statement instanceof Stmt.For loop) {
            names(loop.head().items(), scope);
        } else if (statement instanceof Stmt.Assign assign) {
            names(assign.value(), scope);
            store(assign.target(), scope);
        } else if (statement instanceof Stmt.AssignBlock assign) {
            store(assign.target(), scope);
        } else if (statement instanceof Stmt.With with) {
            with.values().forEach(value -> names(value, scope));
        } else if (statement instanceof Stmt.MacroOf macro) {
            scope.store(macro.name());
        } else if (statement instanceof Stmt.CallBlock block) {
            names(block.call(), scope);
        } else if (statement instanceof Stmt.FilterBlock block) {
            names(block.filter(), scope);
        }
    }

    private void branches(Stmt.If ifs, int from, Scope scope) {
        names(ifs.branches().get(from).test(), scope);
        Scope body = scope.branch();
        ifs.branches().get(from).body().forEach(each -> visit(each, body));
        Scope elifs = scope.branch();
        if (from == 0) {
            for (int i = 1; i < ifs.branches().size(); i++) {
                names(ifs.branches().get(i).test(), elifs);
                Scope elif = elifs.branch();
                ifs.branches().get(i).body().forEach(each -> visit(each, elif));
                elifs.join(elif);
            }
        }
        Scope otherwise = scope.branch();
        ifs.otherwise().forEach(each -> visit(each, otherwise));
        scope.join(body, elifs, otherwise);
    }

    private void names(Expr expression, Scope scope) {
        enter(expression.line());
        if (expression instanceof Expr.Name name) {
            scope.load(name.name());
        } else {
            expression.children().forEach(child -> names(child, scope));
        }
        depth--;
    }

    private void store(Stmt.Target target, Scope scope) {
        if (target instanceof Stmt.NameTarget name) {
            if (loops > 0 && name.name().equals("loop")) {
                throw TemplateError.syntax("'loop' cannot be set inside of a loop", name.line());
            }
            scope.store(name.name());
        } else if (target instanceof Stmt.AttributeTarget attribute) {
            scope.load(attribute.namespace());
        } else if (target instanceof Stmt.TupleTarget tuple) {
            tuple.items().forEach(item -> store(item, scope));
        }
    }

    private static void parameters(Stmt.Target target, Scope scope) {
        if (target instanceof Stmt.NameTarget name) {
            scope.parameter(name.name());
        } else if (target instanceof Stmt.TupleTarget tuple) {
            tuple.items().forEach(item -> parameters(item, scope));
        }
    }

    // the scopes inside of statements

    private void inside(List<Stmt> statements, Scope scope, boolean soft) {
        statements.forEach(statement -> inside(statement, scope, soft));
    }

    private void inside(Stmt statement, Scope scope, boolean soft) {
        enter(statement.line());
        if (statement instanceof Stmt.Print print) {
            known(print.value(), soft);
        } else if (statement instanceof Stmt.If ifs) {
            ifs.branches().forEach(branch -> {
                known(branch.test(), true);
                inside(branch.body(), scope, true);
            });
            inside(ifs.otherwise(), scope, true);
        } else if (statement instanceof Stmt.For loop) {
            loop(loop, scope, soft);
        } else if (statement instanceof Stmt.Assign assign) {
            known(assign.value(), soft);
        } else if (statement instanceof Stmt.AssignBlock assign) {
            Scope inner = block(statement, scope, assign.body());
            if (assign.filter() != null) {
                names(assign.filter(), inner);
                known(assign.filter(), false);
            }
        } else if (statement instanceof Stmt.With with) {
            with.values().forEach(value -> known(value, soft));
            Scope inner = scope(statement, Role.BODY, scope);
            with.targets().forEach(target -> parameters(target, inner));
            body(with.body(), inner);
        } else if (statement instanceof Stmt.MacroOf macro) {
            macro(statement, macro.signature(), macro.body(), scope);
        } else if (statement instanceof Stmt.CallBlock call) {
            known(call.call(), soft);
            macro(statement, call.signature(), call.body(), scope);
        } else if (statement instanceof Stmt.Generation generation) {
            macro(statement, Stmt.Signature.NONE, generation.body(), scope);
        } else if (statement instanceof Stmt.FilterBlock filter) {
            names(filter.filter(), block(statement, scope, filter.body()));
            known(filter.filter(), false);
        }
        depth--;
    }

    private void loop(Stmt.For loop, Scope scope, boolean soft) {
        loops++;
        Stmt.ForHead head = loop.head();
        known(head.items(), soft);
        Scope body = scope(loop, Role.BODY, scope);
        body.parameter("loop");
        parameters(head.target(), body);
        body(loop.body(), body);
        body(loop.otherwise(), scope(loop, Role.ELSE, scope));
        if (head.test() != null) {
            Scope test = scope(loop, Role.TEST, scope);
            parameters(head.target(), test);
            names(head.test(), test);
            known(head.test(), false);
        }
        loops--;
    }

    private void macro(Stmt statement, Stmt.Signature signature, List<Stmt> body, Scope scope) {
        Scope inner = scope(statement, Role.BODY, scope);
        signature.names().forEach(inner::parameter);
        signature.defaults().forEach(value -> {
            names(value, inner);
            known(value, false);
        });
        Set<String> read = new HashSet<>();
        body.forEach(each -> reads(each, read));
        read.retainAll(OF_MACROS);
        read.removeAll(signature.names());
        read.forEach(inner::parameter);
        special.put(statement, read);
        body(body, inner);
    }

    private Scope block(Stmt statement, Scope scope, List<Stmt> body) {
        Scope inner = scope(statement, Role.BODY, scope);
        body(body, inner);
        return inner;
    }

    private void body(List<Stmt> body, Scope scope) {
        body.forEach(statement -> visit(statement, scope));
        inside(body, scope, false);
    }

    private Scope scope(Stmt statement, Role role, @Nullable Scope parent) {
        Scope scope = new Scope(parent);
        scopes.computeIfAbsent(statement, each -> new HashMap<>()).put(role, scope);
        return scope;
    }

    /** All names that are read anywhere in a statement. */
    private static void reads(Stmt statement, Set<String> names) {
        Stmt.expressions(statement).forEach(expression -> reads(expression, names));
        Stmt.bodies(statement).forEach(body -> body.forEach(each -> reads(each, names)));
    }

    private static void reads(Expr expression, Set<String> names) {
        if (expression instanceof Expr.Name name) {
            names.add(name.name());
        }
        expression.children().forEach(child -> reads(child, names));
    }

    /** Refuses filters and tests that do not exist. */
    private void known(Expr expression, boolean soft) {
        enter(expression.line());
        if (!soft && expression instanceof Expr.Filter filter) {
            Filters.check(filter.name(), filter.line());
        } else if (!soft && expression instanceof Expr.Test test) {
            Tests.check(test.name(), test.line());
        }
        boolean inside = soft || expression instanceof Expr.Conditional;
        expression.children().forEach(child -> known(child, inside));
        depth--;
    }

    private void enter(int line) {
        if (++depth > MAX_DEPTH) {
            throw TemplateError.syntax("the template is nested more than " + MAX_DEPTH + " deep", line);
        }
    }
}
