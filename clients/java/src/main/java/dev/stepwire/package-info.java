/** Connects to a Stepwire server and reads what its errors say; the calls are in {@code dev.stepwire.v1}. */
package dev.stepwire;
