// A plain collector and a plain consumer in Go, as a service of this kind is usually written:
//
//	peer ingest     net/http answers 202 when RabbitMQ has confirmed the event
//	peer deliver    posts each message to the target and acks it after a 2xx
//	peer version    prints the version of Go
//
// Both use one connection and one channel, a quorum queue, and persistent, mandatory messages. Many publishes and
// deliveries are in progress at a time. Neither limits rates, delays retries, verifies senders or records metrics.
// The environment configures it: PEER_AMQP_URL, PEER_PORT, PEER_TARGET_URL, and Go's own GOMAXPROCS.
package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"runtime"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	queue          = "peer.go"
	concurrency    = 64
	prefetch       = 2 * concurrency // so that a worker need not wait for the broker to see an ack
	maxBodyBytes   = 1 << 20
	confirmWithin  = 2 * time.Second
	answeredWithin = 5 * time.Second
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: peer ingest|deliver|version")
	}
	if os.Args[1] == "version" {
		fmt.Println(runtime.Version())
		return
	}
	connection, err := amqp.Dial(os.Getenv("PEER_AMQP_URL"))
	check(err)
	channel, err := connection.Channel()
	check(err)
	_, err = channel.QueueDeclare(queue, true, false, false, false, amqp.Table{"x-queue-type": "quorum"})
	check(err)
	switch os.Args[1] {
	case "ingest":
		ingest(channel, os.Getenv("PEER_PORT"))
	case "deliver":
		deliver(channel, os.Getenv("PEER_TARGET_URL"))
	default:
		log.Fatalf("unknown command %q", os.Args[1])
	}
}

func ingest(channel *amqp.Channel, port string) {
	check(channel.Confirm(false))
	returned := channel.NotifyReturn(make(chan amqp.Return, 1))
	go func() {
		for message := range returned {
			log.Fatalf("returned: %s", message.ReplyText) // the queue exists, so this is a fault of the benchmark
		}
	}()
	http.HandleFunc("POST /events", func(answer http.ResponseWriter, request *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(answer, request.Body, maxBodyBytes))
		if err != nil {
			http.Error(answer, err.Error(), http.StatusBadRequest)
			return
		}
		if err := publish(channel, body, request.Header.Get("Content-Type")); err != nil {
			http.Error(answer, err.Error(), http.StatusServiceUnavailable)
			return
		}
		answer.Header().Set("Content-Type", "application/json")
		answer.WriteHeader(http.StatusAccepted)
		_, _ = answer.Write([]byte(`{"status": "accepted"}`))
	})
	check(http.ListenAndServe("127.0.0.1:"+port, nil))
}

// publish returns when the broker has confirmed the message. Other requests publish meanwhile: the channel serializes
// only the writing.
func publish(channel *amqp.Channel, body []byte, contentType string) error {
	confirmation, err := channel.PublishWithDeferredConfirm("", queue, true, false, amqp.Publishing{
		DeliveryMode: amqp.Persistent,
		ContentType:  contentType,
		Body:         body,
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), confirmWithin)
	defer cancel()
	confirmed, err := confirmation.WaitContext(ctx)
	if err == nil && !confirmed {
		err = fmt.Errorf("the broker refused the message")
	}
	return err
}

func deliver(channel *amqp.Channel, target string) {
	check(channel.Qos(prefetch, 0, false))
	deliveries, err := channel.Consume(queue, "", false, false, false, false, nil)
	check(err)
	transport := &http.Transport{MaxIdleConnsPerHost: concurrency, MaxConnsPerHost: concurrency}
	client := &http.Client{Transport: transport, Timeout: answeredWithin}
	var workers sync.WaitGroup
	for range concurrency {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for delivery := range deliveries {
				if post(client, target, delivery) == nil {
					check(delivery.Ack(false))
				} else {
					check(delivery.Nack(false, true))
				}
			}
		}()
	}
	workers.Wait()
}

// post sends one message. It reads the answer to its end, so that the connection can be used again.
func post(client *http.Client, target string, delivery amqp.Delivery) error {
	answer, err := client.Post(target, delivery.ContentType, bytes.NewReader(delivery.Body))
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return err
	}
	if answer.StatusCode/100 != 2 {
		return fmt.Errorf("the target answered %s", answer.Status)
	}
	return nil
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
