package org.peft4j.data.template;

import java.math.BigInteger;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Reads expressions, with jinja2's precedence: {@code if else}, {@code or}, {@code and}, {@code not}, comparisons and
 * {@code in}, {@code + -}, {@code ~}, {@code * / // %}, {@code **}, signs, then what stands behind a value: attributes,
 * calls, filters, tests.
 */
final class ExpressionParser {
    /** Expressions inside of each other; the parser is recursive. */
    private static final int MAX_DEPTH = 150;

    private static final Map<String, Object> CONSTANTS =
            Map.of("true", true, "True", true, "false", false, "False", false);
    private static final Set<String> NONE = Set.of("none", "None");
    private static final Set<String> COMPARISONS = Set.of("==", "!=", "<", "<=", ">", ">=");

    private final TokenStream tokens;
    private int depth;

    ExpressionParser(TokenStream tokens) {
        this.tokens = tokens;
    }

    Expr expression() {
        if (++depth > MAX_DEPTH) {
            throw TemplateError.syntax("expressions are nested more than " + MAX_DEPTH + " deep", tokens.line());
        }
        int line = tokens.line();
        Expr value = or();
        while (tokens.skipName("if")) {
            Expr test = or();
            Expr no = tokens.skipName("else") ? expression() : null;
            value = new Expr.Conditional(test, value, no, line);
        }
        depth--;
        return value;
    }

    /** One expression, or several with commas: a tuple. Ends at the end of a tag, a closing parenthesis or this name. */
    Expr tuple(boolean withConditional, @Nullable String end, boolean inParentheses) {
        int line = tokens.line();
        List<Expr> items = new ArrayList<>();
        boolean isTuple = false;
        while (!atTupleEnd(end)) {
            items.add(withConditional ? expression() : or());
            if (!tokens.skipOperator(",")) {
                break;
            }
            isTuple = true;
        }
        if (!isTuple && items.size() == 1) {
            return items.get(0);
        }
        if (items.isEmpty() && !inParentheses) {
            throw tokens.unexpected("an expression");
        }
        return new Expr.TupleOf(items, line);
    }

    private boolean atTupleEnd(@Nullable String end) {
        Token token = tokens.current();
        return token.is(Token.Type.PRINT_END)
                || token.is(Token.Type.BLOCK_END)
                || token.isOperator(")")
                || (end != null && token.isName(end));
    }

    private Expr or() {
        int line = tokens.line();
        Expr left = and();
        while (tokens.skipName("or")) {
            left = new Expr.Or(left, and(), line);
        }
        return left;
    }

    private Expr and() {
        int line = tokens.line();
        Expr left = not();
        while (tokens.skipName("and")) {
            left = new Expr.And(left, not(), line);
        }
        return left;
    }

    private Expr not() {
        int line = tokens.line();
        int nots = 0;
        while (tokens.skipName("not")) {
            nots++;
        }
        Expr operand = comparison();
        for (; nots > 0; nots--) {
            operand = new Expr.Not(operand, line);
        }
        return operand;
    }

    private Expr comparison() {
        int line = tokens.line();
        List<Expr> operands = new ArrayList<>(List.of(sum()));
        List<String> operators = new ArrayList<>();
        while (true) {
            if (tokens.current().is(Token.Type.OPERATOR)
                    && COMPARISONS.contains(tokens.current().text())) {
                operators.add(tokens.take().text());
            } else if (tokens.skipName("in")) {
                operators.add("in");
            } else if (tokens.atName("not") && tokens.following().isName("in")) {
                tokens.take();
                tokens.take();
                operators.add("not in");
            } else {
                return operators.isEmpty() ? operands.get(0) : new Expr.Compare(operands, operators, line);
            }
            operands.add(sum());
        }
    }

    private Expr sum() {
        int line = tokens.line();
        Expr left = concat();
        while (tokens.atOperator("+") || tokens.atOperator("-")) {
            left = new Expr.Binary(tokens.take().text(), left, concat(), line);
        }
        return left;
    }

    private Expr concat() {
        int line = tokens.line();
        List<Expr> items = new ArrayList<>(List.of(product()));
        while (tokens.skipOperator("~")) {
            items.add(product());
        }
        return items.size() == 1 ? items.get(0) : new Expr.Concat(items, line);
    }

    private Expr product() {
        int line = tokens.line();
        Expr left = power();
        while (tokens.atOperator("*") || tokens.atOperator("/") || tokens.atOperator("//") || tokens.atOperator("%")) {
            left = new Expr.Binary(tokens.take().text(), left, power(), line);
        }
        return left;
    }

    private Expr power() {
        int line = tokens.line();
        Expr left = unary(true);
        while (tokens.skipOperator("**")) {
            left = new Expr.Binary("**", left, unary(true), line);
        }
        return left;
    }

    private Expr unary(boolean withFilters) {
        int line = tokens.line();
        Expr value;
        if (tokens.atOperator("-") || tokens.atOperator("+")) {
            if (++depth > MAX_DEPTH) {
                throw TemplateError.syntax("expressions are nested more than " + MAX_DEPTH + " deep", line);
            }
            value = new Expr.Unary(tokens.take().text(), unary(false), line);
            depth--;
        } else {
            value = primary();
        }
        value = postfix(value);
        return withFilters ? filtersAndTests(value) : value;
    }

    Expr primary() {
        Token token = tokens.current();
        int line = token.line();
        switch (token.type()) {
            case NAME -> {
                tokens.take();
                return CONSTANTS.containsKey(token.text())
                        ? new Expr.Const(CONSTANTS.get(token.text()), line)
                        : NONE.contains(token.text()) ? new Expr.Const(null, line) : new Expr.Name(token.text(), line);
            }
            case STRING -> {
                StringBuilder text = new StringBuilder();
                while (tokens.current().is(Token.Type.STRING)) {
                    text.append(tokens.take().text());
                }
                return new Expr.Const(text.toString(), line);
            }
            case INTEGER -> {
                tokens.take();
                return new Expr.Const(integer(token.text(), line), line);
            }
            case FLOAT -> {
                tokens.take();
                return new Expr.Const(Double.valueOf(token.text()), line);
            }
            default -> {}
        }
        if (tokens.skipOperator("(")) {
            Expr inside = tuple(true, null, true);
            tokens.expectOperator(")");
            return inside;
        }
        if (tokens.skipOperator("[")) {
            return new Expr.ListOf(items("]"), line);
        }
        if (tokens.skipOperator("{")) {
            return new Expr.DictOf(pairs(), line);
        }
        throw tokens.unexpected("an expression");
    }

    private static BigInteger integer(String digits, int line) {
        if (digits.length() > 1000) {
            throw TemplateError.syntax("a number has " + digits.length() + " digits, at most 1000 allowed", line);
        }
        int base = digits.length() < 3
                ? 10
                : switch (digits.charAt(1)) {
                    case 'x', 'X' -> 16;
                    case 'o', 'O' -> 8;
                    case 'b', 'B' -> 2;
                    default -> 10;
                };
        return new BigInteger(base == 10 ? digits : digits.substring(2), base);
    }

    private List<Expr> items(String end) {
        List<Expr> items = new ArrayList<>();
        while (!tokens.atOperator(end)) {
            items.add(expression());
            if (!tokens.skipOperator(",")) {
                break;
            }
        }
        tokens.expectOperator(end);
        return items;
    }

    private List<Expr> pairs() {
        List<Expr> items = new ArrayList<>();
        while (!tokens.atOperator("}")) {
            items.add(expression());
            tokens.expectOperator(":");
            items.add(expression());
            if (!tokens.skipOperator(",")) {
                break;
            }
        }
        tokens.expectOperator("}");
        return items;
    }

    private Expr postfix(Expr value) {
        Expr all = value;
        while (true) {
            if (tokens.atOperator(".") || tokens.atOperator("[")) {
                all = subscript(all);
            } else if (tokens.atOperator("(")) {
                all = call(all);
            } else {
                return all;
            }
        }
    }

    private Expr filtersAndTests(Expr value) {
        Expr all = value;
        while (true) {
            if (tokens.atOperator("|")) {
                tokens.take();
                all = filter(all);
            } else if (tokens.atName("is")) {
                all = test(all);
            } else if (tokens.atOperator("(")) {
                all = call(all);
            } else {
                return all;
            }
        }
    }

    private Expr subscript(Expr object) {
        int line = tokens.line();
        if (tokens.skipOperator(".")) {
            Token name = tokens.take();
            if (name.is(Token.Type.NAME)) {
                return new Expr.Attribute(object, name.text(), line);
            }
            if (name.is(Token.Type.INTEGER)) {
                return new Expr.Item(object, new Expr.Const(integer(name.text(), line), line), line);
            }
            throw TemplateError.syntax("expected a name or a number behind '.', got " + name.shown(), line);
        }
        tokens.expectOperator("[");
        Expr start = tokens.atOperator(":") ? null : expression();
        if (tokens.skipOperator(":")) {
            Expr stop = bound();
            Expr step = tokens.skipOperator(":") ? bound() : null;
            tokens.expectOperator("]");
            return new Expr.Slice(object, start, stop, step, line);
        }
        if (start == null) {
            throw tokens.unexpected("an expression");
        }
        if (tokens.atOperator(",")) {
            throw TemplateError.syntax("several indexes in one [ ] are not supported", line);
        }
        tokens.expectOperator("]");
        return new Expr.Item(object, start, line);
    }

    private @Nullable Expr bound() {
        return tokens.atOperator(":") || tokens.atOperator("]") || tokens.atOperator(",") ? null : expression();
    }

    Expr.Call call(Expr function) {
        int line = tokens.line();
        return new Expr.Call(function, arguments(), line);
    }

    private Expr.Arguments arguments() {
        int line = tokens.line();
        tokens.expectOperator("(");
        List<Expr> positional = new ArrayList<>();
        List<Expr.Keyword> keywords = new ArrayList<>();
        Expr more = null;
        Expr moreNamed = null;
        while (!tokens.atOperator(")")) {
            boolean fits;
            if (tokens.skipOperator("*")) {
                fits = more == null && moreNamed == null;
                more = expression();
            } else if (tokens.skipOperator("**")) {
                fits = moreNamed == null;
                moreNamed = expression();
            } else if (tokens.current().is(Token.Type.NAME)
                    && tokens.following().isOperator("=")) {
                fits = moreNamed == null;
                String name = tokens.take().text();
                tokens.take();
                keywords.add(new Expr.Keyword(name, expression()));
            } else {
                fits = more == null && moreNamed == null && keywords.isEmpty();
                positional.add(expression());
            }
            if (!fits) {
                throw TemplateError.syntax("arguments of a call are in no order that is allowed", line);
            }
            if (!tokens.skipOperator(",")) {
                break;
            }
        }
        tokens.expectOperator(")");
        return new Expr.Arguments(positional, keywords, more, moreNamed);
    }

    /** A filter behind its {@code |}, with what follows it where it has no input: {@code {% filter a | b %}}. */
    Expr filter(@Nullable Expr input) {
        Token name = tokens.expect(Token.Type.NAME);
        return new Expr.Filter(
                input, dotted(name), tokens.atOperator("(") ? arguments() : Expr.Arguments.NONE, name.line());
    }

    /** All filters of a block: {@code a | b | c}. */
    Expr filters() {
        Expr all = filter(null);
        while (tokens.skipOperator("|")) {
            all = filter(all);
        }
        return all;
    }

    private String dotted(Token first) {
        StringBuilder name = new StringBuilder(first.text());
        while (tokens.skipOperator(".")) {
            name.append('.').append(tokens.expect(Token.Type.NAME).text());
        }
        return name.toString();
    }

    private Expr test(Expr input) {
        int line = tokens.take().line();
        boolean negated = tokens.skipName("not");
        String name = dotted(tokens.expect(Token.Type.NAME));
        Expr.Arguments arguments = Expr.Arguments.NONE;
        Token next = tokens.current();
        if (next.isOperator("(")) {
            arguments = arguments();
        } else if (beginsArgument(next)) {
            if (next.isName("is")) {
                throw TemplateError.syntax("tests cannot follow each other with 'is'", line);
            }
            arguments = new Expr.Arguments(List.of(postfix(primary())), List.of(), null, null);
        }
        Expr test = new Expr.Test(input, name, arguments, line);
        return negated ? new Expr.Not(test, line) : test;
    }

    private static boolean beginsArgument(Token token) {
        return switch (token.type()) {
            case NAME -> !token.isName("else") && !token.isName("or") && !token.isName("and");
            case STRING, INTEGER, FLOAT -> true;
            default -> token.isOperator("[") || token.isOperator("{");
        };
    }
}
