// Reads usage.alerts with kafkajs: node alerts.cjs BROKER TOPIC NUMBER. Prints the first NUMBER messages, one a line.
const { Kafka, logLevel } = require("kafkajs");

const [broker, topic, wanted] = process.argv.slice(2);

const main = async () => {
  const kafka = new Kafka({ clientId: "a-subscriber", brokers: [broker], logLevel: logLevel.ERROR });
  const consumer = kafka.consumer({ groupId: `${topic}.subscriber` });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  let read = 0;
  await new Promise((resolve, reject) => {
    consumer.on(consumer.events.CRASH, ({ payload }) => reject(payload.error));
    consumer.run({
      eachMessage: async ({ message }) => {
        if (read < Number(wanted)) {
          console.log(JSON.stringify({ key: message.key.toString(), value: JSON.parse(message.value.toString()) }));
        }
        read += 1;
        if (read === Number(wanted)) resolve();
      },
    });
  });
  await consumer.disconnect();
};

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
