/**
 * Chat templates: the Jinja texts in a model's directory that make one text of a conversation, rendered as transformers
 * 5.18 renders them (jinja2's immutable sandbox with {@code trim_blocks} and {@code lstrip_blocks}, loop controls, {@code
 * generation}, transformers' {@code tojson}, {@code strftime_now} and {@code raise_exception}), and which of that text is the
 * assistant's.
 *
 * <p>The evaluator is our own. The library that Java has, jinjava 2.8.1, gives other blanks on Llama 3.1 and Qwen 2.5, fails
 * on {@code namespace(last=messages|length - 1)} of Qwen 3, and escapes in {@code tojson} what transformers does not. Those
 * places (lexer, parser, and the values of Java's expression language instead of Python's) are not among what it lets one
 * extend, and it brings 25 libraries, Guava, Javassist and an HTTP client's among them. What published templates use is small.
 *
 * <p>From template to text: {@link org.peft4j.data.template.Lexer}, {@link org.peft4j.data.template.Parser}, {@link
 * org.peft4j.data.template.Scopes}, {@link org.peft4j.data.template.Interpreter} with {@link
 * org.peft4j.data.template.Expressions}. Values are Python's ({@link org.peft4j.data.template.Types}); nothing of Java can be
 * reached from a template, and {@link org.peft4j.data.template.Budget} bounds time, depth and size. What a template uses and
 * we do not have is refused by name.
 */
@NullMarked
package org.peft4j.data.template;

import org.jspecify.annotations.NullMarked;
