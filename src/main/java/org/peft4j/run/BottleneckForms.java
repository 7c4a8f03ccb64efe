package org.peft4j.run;

import java.util.LinkedHashMap;
import java.util.Map;
import org.peft4j.io.yaml.YamlNode;
import org.peft4j.io.yaml.YamlSchema;
import org.peft4j.method.bottleneck.BottleneckLora;
import org.peft4j.method.bottleneck.BottleneckPrefix;
import org.peft4j.method.bottleneck.InvertibleAdapter;
import org.peft4j.method.bottleneck.OriginalNorms;
import org.peft4j.method.bottleneck.PhmConfig;
import org.peft4j.method.bottleneck.ReductionFactor;
import org.peft4j.method.bottleneck.Scaling;

/** How run files say the settings of bottleneck adapters that are no single values. */
final class BottleneckForms {
    private BottleneckForms() {}

    static YamlSchema.Builder addTo(YamlSchema.Builder schema) {
        return schema.flat(OriginalNorms.class)
                .flat(InvertibleAdapter.class)
                .form(
                        InvertibleAdapter.InvAdapter.class,
                        BottleneckForms::readInvAdapter,
                        InvertibleAdapter.InvAdapter::fileName)
                .flat(PhmConfig.Rule.class)
                .flat(PhmConfig.Weights.class)
                .names(OriginalNorms.Residual.class, OriginalNorms.Residual::fileName)
                .form(ReductionFactor.class, BottleneckForms::readReductionFactor, ReductionFactor::toTree)
                .form(Scaling.class, BottleneckForms::readScaling, Scaling::toTree)
                .defaults(PhmConfig.defaults())
                .defaults(BottleneckPrefix.defaults())
                .defaults(BottleneckLora.defaults());
    }

    private static ReductionFactor readReductionFactor(YamlNode node) {
        try {
            return node instanceof YamlNode.Mapping map
                    ? ReductionFactor.ofTree(numbers(map))
                    : ReductionFactor.of(number(node));
        } catch (NumberFormatException e) {
            throw new IllegalArgumentException(
                    "reduction_factor must be a number, or a map such as {default: 16, 0: 8}, received "
                            + node.received(),
                    e);
        } catch (IllegalArgumentException e) {
            throw new IllegalArgumentException(
                    String.valueOf(e.getMessage()).replace("reductionFactor", "reduction_factor"), e);
        }
    }

    private static Map<String, Double> numbers(YamlNode.Mapping map) {
        Map<String, Double> numbers = new LinkedHashMap<>();
        map.values().forEach((key, value) -> numbers.put(key, number(value)));
        return numbers;
    }

    private static double number(YamlNode node) {
        if (node instanceof YamlNode.Scalar scalar && scalar.text() != null) {
            return Double.parseDouble(scalar.text());
        }
        throw new NumberFormatException("no number");
    }

    private static InvertibleAdapter.InvAdapter readInvAdapter(YamlNode node) {
        if (node instanceof YamlNode.Scalar scalar && scalar.text() != null) {
            return InvertibleAdapter.InvAdapter.parse(scalar.text());
        }
        throw new IllegalArgumentException("inv_adapter must be nice, received " + node.received());
    }

    private static Scaling readScaling(YamlNode node) {
        if (node instanceof YamlNode.Scalar scalar && scalar.text() != null) {
            return Scaling.parse(scalar.text());
        }
        throw new IllegalArgumentException(
                "scaling must be a number, learned, or channel, received " + node.received());
    }
}
