package org.peft4j.data.template;

import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** An expression of a template. */
sealed interface Expr {
    /** The line where it stands. */
    int line();

    /** The expressions in it, in the order in which they are evaluated. */
    List<Expr> children();

    record Const(@Nullable Object value, int line) implements Expr {
        @Override
        public List<Expr> children() {
            return List.of();
        }
    }

    record Name(String name, int line) implements Expr {
        @Override
        public List<Expr> children() {
            return List.of();
        }
    }

    record TupleOf(List<Expr> items, int line) implements Expr {
        @Override
        public List<Expr> children() {
            return items;
        }
    }

    record ListOf(List<Expr> items, int line) implements Expr {
        @Override
        public List<Expr> children() {
            return items;
        }
    }

    /** {@code {key: value}}; keys and values take turns. */
    record DictOf(List<Expr> items, int line) implements Expr {
        @Override
        public List<Expr> children() {
            return items;
        }
    }

    record Unary(String operator, Expr operand, int line) implements Expr {
        @Override
        public List<Expr> children() {
            return List.of(operand);
        }
    }

    record Binary(String operator, Expr left, Expr right, int line) implements Expr {
        @Override
        public List<Expr> children() {
            return List.of(left, right);
        }
    }

    record And(Expr left, Expr right, int line) implements Expr {
        @Override
        public List<Expr> children() {
            return List.of(left, right);
        }
    }

    record Or(Expr left, Expr right, int line) implements Expr {
        @Override
        public List<Expr> children() {
            return List.of(left, right);
        }
    }

    record Not(Expr operand, int line) implements Expr {
        @Override
        public List<Expr> children() {
            return List.of(operand);
        }
    }

    /** {@code a ~ b ~ c}. */
    record Concat(List<Expr> items, int line) implements Expr {
        @Override
        public List<Expr> children() {
            return items;
        }
    }

    /** {@code a < b <= c}: one operand more than operators. */
    record Compare(List<Expr> operands, List<String> operators, int line) implements Expr {
        @Override
        public List<Expr> children() {
            return operands;
        }
    }

    /** {@code yes if test else no}. */
    record Conditional(Expr test, Expr yes, @Nullable Expr no, int line) implements Expr {
        @Override
        public List<Expr> children() {
            return no == null ? List.of(test, yes) : List.of(test, yes, no);
        }
    }

    /** {@code object.name}. */
    record Attribute(Expr object, String name, int line) implements Expr {
        @Override
        public List<Expr> children() {
            return List.of(object);
        }
    }

    /** {@code object[index]}. */
    record Item(Expr object, Expr index, int line) implements Expr {
        @Override
        public List<Expr> children() {
            return List.of(object, index);
        }
    }

    /** {@code object[start:stop:step]}. */
    record Slice(
            Expr object,
            @Nullable Expr start,
            @Nullable Expr stop,
            @Nullable Expr step,
            int line) implements Expr {
        @Override
        public List<Expr> children() {
            List<Expr> all = new ArrayList<>(List.of(object));
            for (Expr bound : new Expr[] {start, stop, step}) {
                if (bound != null) {
                    all.add(bound);
                }
            }
            return all;
        }
    }

    record Call(Expr function, Arguments arguments, int line) implements Expr {
        @Override
        public List<Expr> children() {
            List<Expr> all = new ArrayList<>(List.of(function));
            all.addAll(arguments.expressions());
            return all;
        }
    }

    /** {@code input | name(…)}; without input it takes the text of the block that it stands at. */
    record Filter(@Nullable Expr input, String name, Arguments arguments, int line) implements Expr {
        @Override
        public List<Expr> children() {
            List<Expr> all = new ArrayList<>();
            if (input != null) {
                all.add(input);
            }
            all.addAll(arguments.expressions());
            return all;
        }
    }

    /** {@code input is name(…)}. */
    record Test(Expr input, String name, Arguments arguments, int line) implements Expr {
        @Override
        public List<Expr> children() {
            List<Expr> all = new ArrayList<>(List.of(input));
            all.addAll(arguments.expressions());
            return all;
        }
    }

    /** {@code (a, b, name=c, *more, **named)}. */
    record Arguments(
            List<Expr> positional,
            List<Keyword> keywords,
            @Nullable Expr more,
            @Nullable Expr moreNamed) {
        static final Arguments NONE = new Arguments(List.of(), List.of(), null, null);

        List<Expr> expressions() {
            List<Expr> all = new ArrayList<>(positional);
            keywords.forEach(keyword -> all.add(keyword.value()));
            if (more != null) {
                all.add(more);
            }
            if (moreNamed != null) {
                all.add(moreNamed);
            }
            return all;
        }
    }

    record Keyword(String name, Expr value) {}
}
