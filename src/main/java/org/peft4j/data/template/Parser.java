package org.peft4j.data.template;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Deque;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** Reads a template: text, values that are printed, and statements. */
final class Parser {
    private static final int MAX_DEPTH = 100;

    /** Of jinja2, and of no use where there is one template. */
    private static final Set<String> OTHER_TEMPLATES = Set.of("extends", "block", "include", "import", "from");

    private final TokenStream tokens;
    private final ExpressionParser expressions;

    /** The tags around; a loop's body that can be left is the only one that says so. */
    private final Deque<String> around = new ArrayDeque<>();

    private Parser(List<Token> tokens) {
        this.tokens = new TokenStream(tokens);
        this.expressions = new ExpressionParser(this.tokens);
    }

    static List<Stmt> parse(String template) {
        Parser parser = new Parser(Lexer.tokens(template));
        List<Stmt> all = parser.statements();
        if (!parser.tokens.current().is(Token.Type.END)) {
            throw TemplateError.syntax("unexpected " + parser.tokens.current().shown(), parser.tokens.line());
        }
        return all;
    }

    /** Statements up to the end, or to a tag of these names, whose name is the current token then. */
    private List<Stmt> statements(String... ends) {
        List<Stmt> all = new ArrayList<>();
        while (!tokens.current().is(Token.Type.END)) {
            Token token = tokens.take();
            if (token.is(Token.Type.DATA)) {
                all.add(new Stmt.Data(token.text(), token.line()));
            } else if (token.is(Token.Type.PRINT_BEGIN)) {
                all.add(new Stmt.Print(expressions.tuple(true, null, false), token.line()));
                tokens.expect(Token.Type.PRINT_END);
            } else {
                if (tokens.current().is(Token.Type.NAME)
                        && Arrays.asList(ends).contains(tokens.current().text())) {
                    return all;
                }
                statement(all);
                tokens.expect(Token.Type.BLOCK_END);
            }
        }
        if (ends.length > 0) {
            String end = Arrays.stream(ends)
                    .filter(name -> name.startsWith("end"))
                    .findFirst()
                    .orElseThrow();
            throw TemplateError.syntax(
                    "the template ends inside of {% " + around.peek() + " %}, expected {% " + end + " %}",
                    tokens.line());
        }
        return all;
    }

    /** What stands between a tag's end and the tag that ends it; that one's name is taken. */
    private List<Stmt> body(String tag, String end) {
        List<Stmt> body = open(tag, end);
        tokens.take();
        return body;
    }

    private List<Stmt> open(String tag, String... ends) {
        tokens.skipOperator(":");
        tokens.expect(Token.Type.BLOCK_END);
        if (around.size() >= MAX_DEPTH) {
            throw TemplateError.syntax("tags are nested more than " + MAX_DEPTH + " deep", tokens.line());
        }
        around.push(tag);
        List<Stmt> body = statements(ends);
        around.pop();
        return body;
    }

    private void statement(List<Stmt> all) {
        Token tag = tokens.expect(Token.Type.NAME);
        int line = tag.line();
        switch (tag.text()) {
            case "if" -> all.add(ifs(line));
            case "for" -> all.add(loop(line));
            case "set" -> all.add(assign(line));
            case "with" -> all.add(with(line));
            case "macro" -> {
                String name = tokens.expect(Token.Type.NAME).text();
                Stmt.Signature signature = signature();
                all.add(new Stmt.MacroOf(name, signature, body("macro", "endmacro"), line));
            }
            case "call" -> all.add(call(line));
            case "filter" -> {
                Expr filter = expressions.filters();
                all.add(new Stmt.FilterBlock(filter, body("filter", "endfilter"), line));
            }
            case "generation" -> all.add(new Stmt.Generation(body("generation", "endgeneration"), line));
            case "print" -> prints(all, line);
            case "break", "continue" -> {
                checkInLoop(tag);
                all.add(tag.text().equals("break") ? new Stmt.Break(line) : new Stmt.Continue(line));
            }
            default -> throw unknown(tag);
        }
    }

    private TemplateError unknown(Token tag) {
        if (OTHER_TEMPLATES.contains(tag.text()) || tag.text().equals("autoescape")) {
            return TemplateError.syntax(
                    "tag '" + tag.text() + "' is not supported: a chat template stands alone", tag.line());
        }
        String inside = around.isEmpty() ? "" : "; the innermost open tag is '" + around.peek() + "'";
        return TemplateError.syntax("unknown tag '" + tag.text() + "'" + inside, tag.line());
    }

    /** A loop is left from its body, but not through a macro or what else is a function of its own. */
    private void checkInLoop(Token tag) {
        for (String outer : around) {
            if (outer.equals("for")) {
                return;
            }
            if (outer.equals("macro") || outer.equals("call") || outer.equals("generation")) {
                break;
            }
        }
        throw TemplateError.syntax("'" + tag.text() + "' stands outside of a loop", tag.line());
    }

    private Stmt ifs(int line) {
        List<Stmt.Branch> branches = new ArrayList<>();
        while (true) {
            Expr test = expressions.tuple(false, null, false);
            branches.add(new Stmt.Branch(test, open("if", "elif", "else", "endif")));
            String end = tokens.take().text();
            if (!end.equals("elif")) {
                return new Stmt.If(branches, end.equals("else") ? body("if", "endif") : List.of(), line);
            }
        }
    }

    private Stmt loop(int line) {
        Stmt.Target target = target(false, "in");
        tokens.expectName("in");
        Expr items = expressions.tuple(false, "recursive", false);
        Expr test = tokens.skipName("if") ? expressions.expression() : null;
        boolean recursive = tokens.skipName("recursive");
        List<Stmt> body = open("for", "endfor", "else");
        List<Stmt> otherwise = tokens.take().text().equals("else") ? body("else", "endfor") : List.of();
        Set<String> names = new HashSet<>();
        names(target, names);
        if (names.contains("loop")) {
            throw TemplateError.syntax("'loop' cannot be the name of what a loop goes through", line);
        }
        return new Stmt.For(new Stmt.ForHead(target, items, test, recursive), body, otherwise, line);
    }

    private static void names(Stmt.Target target, Set<String> names) {
        if (target instanceof Stmt.NameTarget one) {
            names.add(one.name());
        } else if (target instanceof Stmt.TupleTarget all) {
            all.items().forEach(item -> names(item, names));
        }
    }

    private Stmt assign(int line) {
        Stmt.Target target = target(true, null);
        if (tokens.skipOperator("=")) {
            return new Stmt.Assign(target, expressions.tuple(true, null, false), line);
        }
        Expr filter = tokens.skipOperator("|") ? expressions.filters() : null;
        return new Stmt.AssignBlock(target, filter, body("set", "endset"), line);
    }

    private Stmt with(int line) {
        List<Stmt.Target> targets = new ArrayList<>();
        List<Expr> values = new ArrayList<>();
        while (!tokens.current().is(Token.Type.BLOCK_END)) {
            if (!targets.isEmpty()) {
                tokens.expectOperator(",");
            }
            targets.add(target(false, null));
            tokens.expectOperator("=");
            values.add(expressions.expression());
        }
        return new Stmt.With(targets, values, body("with", "endwith"), line);
    }

    private Stmt call(int line) {
        Stmt.Signature signature = tokens.atOperator("(") ? signature() : Stmt.Signature.NONE;
        if (!(expressions.expression() instanceof Expr.Call call)) {
            throw TemplateError.syntax("tag 'call' needs a call, such as {% call macro() %}", line);
        }
        return new Stmt.CallBlock(call, signature, body("call", "endcall"), line);
    }

    private void prints(List<Stmt> all, int line) {
        do {
            all.add(new Stmt.Print(expressions.expression(), line));
        } while (tokens.skipOperator(","));
    }

    private Stmt.Signature signature() {
        List<String> names = new ArrayList<>();
        List<Expr> defaults = new ArrayList<>();
        tokens.expectOperator("(");
        while (!tokens.atOperator(")")) {
            if (!names.isEmpty()) {
                tokens.expectOperator(",");
            }
            Token name = tokens.expect(Token.Type.NAME);
            if (names.contains(name.text())) {
                throw TemplateError.syntax("parameter '" + name.text() + "' stands twice", name.line());
            }
            names.add(name.text());
            if (tokens.skipOperator("=")) {
                defaults.add(expressions.expression());
            } else if (!defaults.isEmpty()) {
                throw TemplateError.syntax("a parameter without a default follows one that has one", name.line());
            }
        }
        tokens.expectOperator(")");
        return new Stmt.Signature(names, defaults);
    }

    /** What is assigned to: names, with commas a tuple of them, in {@code set} also attributes of a namespace. */
    private Stmt.Target target(boolean withAttributes, @Nullable String end) {
        int line = tokens.line();
        List<Stmt.Target> items = new ArrayList<>();
        boolean isTuple = false;
        while (!(isTuple
                && (tokens.current().is(Token.Type.BLOCK_END)
                        || tokens.atOperator("=")
                        || tokens.atOperator(")")
                        || (end != null && tokens.atName(end))))) {
            items.add(oneTarget(withAttributes));
            if (!tokens.skipOperator(",")) {
                break;
            }
            isTuple = true;
        }
        return isTuple ? new Stmt.TupleTarget(items, line) : items.get(0);
    }

    private Stmt.Target oneTarget(boolean withAttributes) {
        int line = tokens.line();
        if (tokens.current().is(Token.Type.NAME) && tokens.following().isOperator(".") && withAttributes) {
            String namespace = tokens.take().text();
            tokens.take();
            return new Stmt.AttributeTarget(
                    namespace, tokens.expect(Token.Type.NAME).text(), line);
        }
        return target(expressions.primary());
    }

    private static Stmt.Target target(Expr expression) {
        if (expression instanceof Expr.Name name) {
            return new Stmt.NameTarget(name.name(), name.line());
        }
        if (expression instanceof Expr.TupleOf tuple) {
            return new Stmt.TupleTarget(
                    tuple.items().stream().map(Parser::target).toList(), tuple.line());
        }
        throw TemplateError.syntax("this cannot be assigned to", expression.line());
    }
}
