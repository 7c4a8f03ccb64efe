/**
 * Parameter-efficient fine-tuning of transformers.
 *
 * <p>On the class path there is nothing to do. On the module path the modules with native libraries have to be named, because
 * nothing requires them: {@code --add-modules org.peft4j.natives,org.bytedeco.javacpp.linux.x86_64,
 * org.bytedeco.pytorch.linux.x86_64,org.bytedeco.openblas.linux.x86_64} ({@code ALL-MODULE-PATH} fails: commons-compress
 * requires a module that the tokenizers do not bring). From Java 24 on those that load them want {@code
 * --enable-native-access}; the README has the command.
 */
@SuppressWarnings({"requires-automatic", "requires-transitive-automatic"})
module org.peft4j {
    exports org.peft4j.error;
    exports org.peft4j;
    exports org.peft4j.bench;
    exports org.peft4j.config;
    exports org.peft4j.info;
    exports org.peft4j.metrics;
    exports org.peft4j.report;
    exports org.peft4j.run;
    exports org.peft4j.method;
    exports org.peft4j.method.adalora;
    exports org.peft4j.method.adaption;
    exports org.peft4j.method.bitfit;
    exports org.peft4j.method.bottleneck;
    exports org.peft4j.method.hira;
    exports org.peft4j.method.cpt;
    exports org.peft4j.method.dept;
    exports org.peft4j.method.ept;
    exports org.peft4j.method.ia3;
    exports org.peft4j.method.loha;
    exports org.peft4j.method.lokr;
    exports org.peft4j.method.iapt;
    exports org.peft4j.method.lora;
    exports org.peft4j.method.multitask;
    exports org.peft4j.method.prefix;
    exports org.peft4j.method.prompt;
    exports org.peft4j.method.ptuning;
    exports org.peft4j.method.randlora;
    exports org.peft4j.method.shira;
    exports org.peft4j.method.tokens;
    exports org.peft4j.method.vblora;
    exports org.peft4j.method.oft;
    exports org.peft4j.method.boft;
    exports org.peft4j.method.hra;
    exports org.peft4j.method.reft;
    exports org.peft4j.method.road;
    exports org.peft4j.method.miss;
    exports org.peft4j.method.c3a;
    exports org.peft4j.method.fourierft;
    exports org.peft4j.method.gralora;
    exports org.peft4j.method.poly;
    exports org.peft4j.method.full;
    exports org.peft4j.method.hft;
    exports org.peft4j.method.osf;
    exports org.peft4j.method.list;
    exports org.peft4j.method.lntuning;
    exports org.peft4j.method.vera;
    exports org.peft4j.method.xlora;

    opens org.peft4j.cli to
            info.picocli;

    requires transitive org.jspecify;
    requires ai.djl.api;
    requires ai.djl.tokenizers;
    requires com.fasterxml.jackson.core;
    requires com.fasterxml.jackson.databind;
    requires com.fasterxml.jackson.dataformat.yaml;
    requires com.google.protobuf;
    requires de.siegmar.fastcsv;
    requires info.picocli;
    requires java.desktop;
    requires jdk.management;
    requires org.bytedeco.javacpp;
    requires org.bytedeco.pytorch;
    requires xchart;
    requires org.slf4j;
    requires org.yaml.snakeyaml;

    uses org.slf4j.spi.SLF4JServiceProvider;
}
