package org.peft4j.data.template;

import java.util.List;

/** The tokens of a template, read one after the other. */
final class TokenStream {
    private final List<Token> tokens;
    private int next;

    TokenStream(List<Token> tokens) {
        this.tokens = tokens;
    }

    Token current() {
        return tokens.get(next);
    }

    Token following() {
        return tokens.get(Math.min(next + 1, tokens.size() - 1));
    }

    int line() {
        return current().line();
    }

    /** The current token; goes on to the next. */
    Token take() {
        Token token = current();
        if (next < tokens.size() - 1) {
            next++;
        }
        return token;
    }

    boolean atOperator(String operator) {
        return current().isOperator(operator);
    }

    boolean atName(String name) {
        return current().isName(name);
    }

    boolean skipOperator(String operator) {
        boolean there = atOperator(operator);
        if (there) {
            take();
        }
        return there;
    }

    boolean skipName(String name) {
        boolean there = atName(name);
        if (there) {
            take();
        }
        return there;
    }

    Token expect(Token.Type type) {
        if (!current().is(type)) {
            throw unexpected(type.shown());
        }
        return take();
    }

    void expectOperator(String operator) {
        if (!skipOperator(operator)) {
            throw unexpected("'" + operator + "'");
        }
    }

    void expectName(String name) {
        if (!skipName(name)) {
            throw unexpected("'" + name + "'");
        }
    }

    TemplateError unexpected(String expected) {
        return TemplateError.syntax(
                "expected " + expected + ", got " + current().shown(), line());
    }
}
